"""An example's job, trained in this process as `ktrain run` would train it with one rank; nothing is kept."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from ktrain.load import load_job
from ktrain_trainer import loop
from ktrain_trainer.assemble import assemble, build_parts
from ktrain_trainer.numerics import set_numerics
from ktrain_trainer.place import nowhere
from ktrain_trainer.stop import StopFlag
from ktrain_trainer.world import World

EXAMPLES = Path(__file__).parents[2] / "examples"


def train(name: str, changes: Sequence[str] = ()) -> dict[str, float]:
    """The last evaluation of examples/<name>, by name."""
    loaded = load_job(EXAMPLES / name / "job.yaml", list(changes))
    spec = loaded.job.spec.trainer
    assert spec is not None
    set_numerics(spec)
    with contextlib.chdir(loaded.code_dir):
        run = assemble(spec, build_parts(spec), World.alone("cpu"), nowhere(), stop=StopFlag())
        loop.train(run)
    return run.progress.metrics
