"""A job as `ktrain run --smoke` runs it: what it does, in seconds and on CPUs. Pure."""

from typing import Final

from ktrain.errors import SpecError
from ktrain.spec import Trainer, TrainingJob
from ktrain.spec.debug import Debug
from ktrain.spec.record import Checkpoint, Log
from ktrain.spec.schedule import Schedule
from ktrain.units import Span

SAMPLES: Final = 64
STEPS: Final = 3
RANKS: Final = 2
LEARN_STEPS: Final = 20


def smoked(job: TrainingJob, steps: int) -> TrainingJob:
    """So many steps of few samples on two CPU ranks; saves and evaluates at the end, tells of each step."""
    trainer = job.spec.trainer
    if trainer is None:
        raise SpecError(
            "--smoke needs spec.trainer: a script's loop is its own; run the script on a little data instead"
        )
    env = {**job.spec.env, "CUDA_VISIBLE_DEVICES": ""}
    spec = job.spec.model_copy(
        update={"nodes": 1, "procs_per_node": RANKS, "resources": {}, "env": env, "trainer": _few(trainer, steps)}
    )
    return job.model_copy(update={"spec": spec})


def held(job: TrainingJob) -> TrainingJob:
    """The same, on one batch again and again at the full learning rate: its loss must fall."""
    small = smoked(job, LEARN_STEPS)
    assert small.spec.trainer is not None
    trainer = small.spec.trainer.model_copy(update={"debug": Debug(overfit_batches=1)})
    return small.model_copy(update={"spec": small.spec.model_copy(update={"trainer": trainer})})


def _few(trainer: Trainer, steps: int) -> Trainer:
    given = trainer.batch.micro
    micro = min(given, SAMPLES // STEPS // RANKS) if isinstance(given, int) else 1
    every = Span(1, "step")
    return trainer.model_copy(
        update={
            "duration": Span(steps, "step"),
            "batch": trainer.batch.model_copy(update={"global_": RANKS * micro, "micro": micro}),
            "eval": trainer.eval.model_copy(update={"every": None, "micro": micro, "max_samples": SAMPLES}),
            "checkpoint": Checkpoint(every=(Span(600.0, "s"),)),
            "early_stop": None,
            "schedule": Schedule(),  # a warm-up would be longer than the run
            "log": Log(every=every),
            "track": (),
            "debug": Debug(),
        }
    )
