"""What ranks run, in which environment, and what is imported for them before they start."""

import os
import sys
from pathlib import Path

from ktrain.spec import TrainingJob
from ktrain_launcher.nursery import Command


def command(job: TrainingJob, code: Path) -> Command:
    """The trainer, or the user's script."""
    script = job.spec.script
    argv = [sys.executable, script.path, *script.args] if script else [sys.executable, "-m", "ktrain_trainer"]
    return Command(argv, code)


def modules(job: TrainingJob) -> list[str]:
    """Imported once for all ranks."""
    trainer = job.spec.trainer
    if not trainer:
        return ["torch", "ktrain_trainer"]
    # What shards, recomputes or compiles imports torch's compiler with its first step: seconds for each rank, and again
    # after each restart. Nothing else needs it (uncompiled.py).
    needs_compiler = trainer.compile or trainer.parallel.is_sharded or trainer.parallel.recompute != "none"
    return [*(["torch._dynamo"] if needs_compiler else []), "ktrain_trainer.worker"]


def base_environment(job: TrainingJob, nproc: int) -> dict[str, str]:
    """This process's own, and what ranks get unless it says otherwise; the threads are torchrun's default.

    Without the operator's settings for torchrun, which we are not: a script that starts one of its own would obey them.
    """
    here = {name: value for name, value in os.environ.items() if not name.startswith("PET_")}
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")} if nproc > 1 else {}
    # torch warns for each connection when a pod's address has no name in DNS.
    always = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    return here | always | threads | job.spec.env | _forced(job)


def _forced(job: TrainingJob) -> dict[str, str]:
    """The number of threads is part of the declarative trainer's numbers."""
    trainer = job.spec.trainer
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(trainer.threads)) if trainer else {}
