"""Weights to begin with, from another run."""

import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Final

from torch import nn

from ktrain.checkpoints.readers import of_step, reading
from ktrain.errors import CheckpointError, KtrainError
from ktrain.history import Commit, current_run
from ktrain.names import KEY_HEAD
from ktrain.storage import Storage, open_storage, scoped
from ktrain_trainer.checkpoint.load import load_newest, shared_head
from ktrain_trainer.checkpoint.target import Target
from ktrain_trainer.checkpoint.world import World

_AT_STEP: Final = re.compile(r"(?P<url>.+)@(?P<step>\d+)")


def init_from(
    model: nn.Module, source: str, *, world: World, opener: Callable[[str], Storage] = open_storage
) -> Commit:
    """Puts another run's weights (`<url>` of its job or run folder, or `<url>@<step>`) into the model; returns their commit.

    Floating-point weights are cast to the model's dtype.
    """
    match = _AT_STEP.fullmatch(source)
    url, step = (match["url"], int(match["step"])) if match else (source, None)
    storage = _run_of(opener(url), url)
    is_first = world.rank == 0
    with reading(storage, of_step(None)) if is_first else nullcontext():
        head = shared_head(storage, world)
        commits = _chosen(head.commits if head else (), url, step)
        found = load_newest(storage, commits, world, Target(model).describe_model, may_cast=True)
    found.loaded.apply()
    return found.commit


def _run_of(storage: Storage, url: str) -> Storage:
    try:
        if storage.stat(KEY_HEAD):
            return storage
        if run := current_run(storage):
            return scoped(storage, run)
    except KtrainError as error:
        raise CheckpointError(f"initFrom: {error}") from error
    raise CheckpointError(f"initFrom: {url} is neither a job's folder nor a run's; expected one that holds RUN or HEAD")


def _chosen(commits: Sequence[Commit], url: str, step: int | None) -> Sequence[Commit]:
    if not commits:
        raise CheckpointError(f"initFrom: {url} has no checkpoint yet")
    if step is None:
        return commits
    chosen = [commit for commit in commits if commit.step == step]
    if not chosen:
        steps = ", ".join(str(commit.step) for commit in commits)
        raise CheckpointError(f"initFrom: {url} has no checkpoint of step {step}; it has {steps}")
    return chosen
