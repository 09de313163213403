"""What `ktrain eval` asks: one checkpoint's weights, evaluated here by the code that evaluates while training.

The request comes on stdin, the answer goes to stdout, both as one JSON object; the current folder is the code folder.
"""

import contextlib
import importlib.util
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ktrain.errors import KtrainError, SpecError
from ktrain.spec import Trainer, TrainingJob
from ktrain.spec.parallel import Parallel


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """job: the resolved job; url: the run's; step: of the commit; split: val or test; out: where the results go."""
    if importlib.util.find_spec("torch") is None:
        raise SpecError("torch is not installed, and eval runs the model; install ktrain-operator[trainer]")
    from ktrain.storage import open_storage

    job = TrainingJob.model_validate(request["job"])
    if job.spec.trainer is None:
        raise SpecError("this job is a script's; only what `trainer:` describes can be evaluated", "spec.script")
    spec = _as_asked(job.spec.trainer)
    found = _evaluated(spec, job, request)
    storage = open_storage(str(request["out"]))
    data = {key: found[key] for key in ("split", "step", "samples", "metrics", "details")}
    storage.put("metrics.json", (json.dumps(data, indent=1) + "\n").encode())
    return found


def _as_asked(spec: Trainer) -> Trainer:
    """The job's trainer on one rank, which decides nothing and keeps nothing of the run."""
    return spec.model_copy(
        update={
            "model": spec.model.model_copy(update={"init_from": None}),
            "parallel": Parallel(),
            "eval": spec.eval.model_copy(update={"max_samples": spec.eval.max_samples or None}),
            "early_stop": None,
            "checkpoint": spec.checkpoint.model_copy(update={"best": None}),
        }
    )


def _evaluated(spec: Trainer, job: TrainingJob, request: dict[str, Any]) -> dict[str, Any]:
    from ktrain.history import Token, opener
    from ktrain.storage import open_storage
    from ktrain_trainer.assemble import assemble, build_parts
    from ktrain_trainer.evaluate import evaluate
    from ktrain_trainer.numerics import set_numerics
    from ktrain_trainer.place import Place
    from ktrain_trainer.predictions import Predictions
    from ktrain_trainer.stop import StopFlag
    from ktrain_trainer.world import World

    set_numerics(spec)
    world = World.alone()
    with tempfile.TemporaryDirectory() as folder:
        place = Place(None, Token(1, 1), "", Path(folder), opener(job))
        parts = replace(build_parts(spec), val=_loader(spec, request["split"]))
        run = assemble(spec, parts, world, place, stop=StopFlag())
        _load(run, opener(job)(request["url"]), request["step"])
        results = Place(open_storage(str(request["out"])), Token(1, 1), "", Path(folder))
        run.predictions = Predictions(results, world)
        run.split = request["split"]
        run.progress.step = request["step"]  # draws are keyed by it: the same as in the run's own evaluation
        metrics = evaluate(run)
    assert run.val is not None
    predictions = f"{request['out']}/predictions/{run.split}/step-{run.progress.step:010d}"
    return {
        "split": run.split, "step": run.progress.step, "samples": run.val.num_samples, "metrics": metrics,
        "details": dict(run.details), "predictions": predictions,
    }  # fmt: skip


def _loader(spec: Trainer, split: Literal["val", "test"]) -> Any:
    from ktrain_trainer import data
    from ktrain_trainer.sources import make_sources

    source = getattr(make_sources(spec.data, seed=spec.seed, test=split == "test"), split)
    if source is None:
        raise SpecError(
            f"there is no data.{split} to evaluate on; add it to the job file", f"spec.trainer.data.{split}"
        )
    return data.make_loader(spec.data, source, seed=spec.seed, split=split)


def _load(run: Any, storage: Any, step: int) -> None:
    """The whole commit: what is evaluated may be an average, or follow from the optimizer's state."""
    from ktrain.checkpoints.readers import of_step, reading
    from ktrain_trainer.checkpoint.load import load_newest
    from ktrain_trainer.checkpoint.target import Target
    from ktrain_trainer.place import gang

    state = run.state
    target = Target(state.model, state.optimizer, state.extra)
    with reading(storage, of_step(step)) as commits:
        loaded = load_newest(storage, commits, gang(run.world), target.describe).loaded
    loaded.apply()
    target.install(loaded.manifest)


def main() -> None:
    """Answers on the real stdout; what user code prints goes to stderr."""
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        try:
            found = answer(json.loads(sys.stdin.read()))
        except KtrainError as error:
            found = {"error": str(error), "kind": type(error).__name__}
    out.write(json.dumps(found))


if __name__ == "__main__":
    main()
