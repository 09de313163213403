"""Where a run is kept and under which token this gang may write: given by the launcher, or claimed by ourselves."""

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktrain import names
from ktrain.history import Token, begin_run, claim_epoch, current_run, job_storage, mark_done, opener, read_head
from ktrain.spec import TrainingJob
from ktrain.storage import Storage, open_storage, scoped
from ktrain_trainer import checkpoint
from ktrain_trainer.checkpoint import Checkpointer, Retention
from ktrain_trainer.progress import Progress
from ktrain_trainer.world import World


@dataclass(frozen=True)
class Place:
    """The run's own storage; None keeps nothing."""

    storage: Storage | None
    token: Token
    run: str
    scratch: Path
    opener: Callable[[str], Storage] = open_storage  # for other places on the same server, such as initFrom
    memory: tuple[str, ...] = ()  # the launcher's, for copies that outlive this rank
    grace_seconds: float | None = None  # between SIGTERM and SIGKILL; None: not known


def nowhere() -> Place:
    """For a run that is not kept."""
    return Place(None, Token(1, 1), "", Path(tempfile.gettempdir()))


def is_launched(env: Mapping[str, str] = os.environ) -> bool:
    """Whether ktrain's launcher started this process."""
    return bool(env.get(names.ENV_RUN) and env.get(names.ENV_EPOCH) and env.get(names.ENV_SPEC))


def read_job(env: Mapping[str, str] = os.environ) -> TrainingJob:
    """The resolved spec that the launcher was given."""
    return TrainingJob.model_validate_json(Path(env[names.ENV_SPEC]).read_text())


def given(job: TrainingJob, env: Mapping[str, str] = os.environ) -> Place:
    """By the launcher's environment."""
    run = env[names.ENV_RUN]
    return Place(
        scoped(job_storage(job, env.get(names.ENV_STORAGE_URL)), run),
        Token(int(env.get(names.ENV_ATTEMPT, "1")), int(env[names.ENV_EPOCH])),
        run,
        Path(env.get(names.ENV_SCRATCH) or tempfile.gettempdir()),
        opener(job),
        tuple(filter(None, env.get(names.ENV_MEMORY, "").split(","))),
        job.spec.preemption.grace.total_seconds(),
    )


def claim(url: str, name: str, world: World, *, fresh: bool, document: Mapping[str, Any]) -> Place:
    """Without a launcher: the current run of this name (or a new one), the next attempt. A collective."""
    folder = scoped(open_storage(url), f"default/{name}")
    taken: dict[str, Any] = {}
    if world.is_first:
        run = (None if fresh else current_run(folder)) or begin_run(folder, dict(document))
        head = read_head(scoped(folder, run))
        token = claim_epoch(scoped(folder, run), attempt=head.attempt + 1 if head else 1)
        taken = {"run": run, "attempt": token.attempt, "epoch": token.epoch}
    taken = world.share(taken)
    storage = scoped(folder, taken["run"])
    return Place(storage, Token(taken["attempt"], taken["epoch"]), taken["run"], Path(tempfile.gettempdir()))


def checkpointer(place: Place, world: World, *, retention: Retention) -> Checkpointer:
    """The run's checkpoints, written by this gang."""
    assert place.storage is not None
    return Checkpointer(
        place.storage, place.token, gang(world), run=place.run, retention=retention, memory=place.memory
    )


def gang(world: World) -> checkpoint.World:
    """The ranks as checkpoints see them."""
    return checkpoint.World(world.rank, world.size, world.store, world.agree, world.control)


def write_done(place: Place, progress: Progress, *, duration: str | None) -> None:
    """The completion marker: a pod that comes later finds it and leaves at once. A longer duration makes it void."""
    assert place.storage is not None
    mark_done(place.storage, place.token)
    marker = {"step": progress.step, "reason": progress.finished, "finished": time.time(), "duration": duration}
    place.storage.put(names.KEY_DONE, json.dumps(marker).encode())
