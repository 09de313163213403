"""Prints text that the trained model writes: `python sample.py [RUN OR JOB FOLDER]`, after `ktrain run job.yaml`."""

import sys
from pathlib import Path

from shakespeare import GPT

from ktrain.errors import KtrainError
from ktrain.load import load_job
from ktrain_trainer.checkpoint import World, init_from


def main() -> int:
    """The weights of the newest commit, 400 characters."""
    loaded = load_job(Path(__file__).parent / "job.yaml")
    job, trainer = loaded.job, loaded.job.spec.trainer
    assert trainer is not None
    source = sys.argv[1] if len(sys.argv) > 1 else f"{loaded.storage_url}/{job.metadata.namespace}/{job.metadata.name}"
    model = GPT(**trainer.model.args)
    try:
        commit = init_from(model, source, world=World())
    except KtrainError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.cli_exit
    print(f"--- after {commit.step} steps ---")
    print(model.eval().write("\n", 400))
    return 0


if __name__ == "__main__":
    sys.exit(main())
