"""Who reads a run says so in its storage, and its writer's retention leaves alone what is being read."""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from ktrain.checkpoints.retention import Retention
from ktrain.errors import StorageError
from ktrain.history import Commit, Head, read_head
from ktrain.names import DIR_READERS
from ktrain.storage import Storage

MOST_SECONDS: Final = 3600
"""For so long a reader counts that was killed before it could say that it is done."""

Choose = Callable[[Head | None], Sequence[Commit]]
Clock = Callable[[], float]


def of_step(step: int | None) -> Choose:
    """The commits of this step, or of any."""
    return lambda head: [it for it in (head.commits if head else ()) if step is None or it.step == step]


@contextmanager
def reading(storage: Storage, choose: Choose, *, clock: Clock = time.time) -> Iterator[Sequence[Commit]]:
    """The chosen commits, which no writer removes as long as this is open, an hour at most.

    Those that went while we said so are left out. Who may not write reads without saying so. A writer that has looked for
    readers just before, and takes longer for its commit than we for ours, is not stopped: who reads falls back.
    """
    folder = f"{DIR_READERS}/{int(clock() + MOST_SECONDS)}-{uuid.uuid4().hex[:12]}"
    chosen = choose(read_head(storage))
    with suppress(StorageError):
        for commit in chosen:
            storage.put(f"{folder}/{commit.manifest}", b"reading\n")
    head = read_head(storage)
    try:
        yield [commit for commit in chosen if head and commit in head.commits]
    finally:
        if chosen:
            with suppress(StorageError):
                storage.delete_folder(folder)


def in_use(storage: Storage, *, clock: Clock = time.time) -> frozenset[str]:
    """Manifests that somebody reads; what readers left that never came to their end is removed."""
    found: set[str] = set()
    over: set[str] = set()
    for stat in storage.list(f"{DIR_READERS}/"):
        reader, _, manifest = stat.key.removeprefix(f"{DIR_READERS}/").partition("/")
        until = reader.partition("-")[0]
        if until.isdigit() and int(until) >= clock():
            found.add(manifest)
        else:
            over.add(f"{DIR_READERS}/{reader}")
    for folder in sorted(over):
        storage.delete_folder(folder)
    return frozenset(found)


def keep(storage: Storage, retention: Retention, commits: Sequence[Commit]) -> tuple[Commit, ...]:
    """What retention keeps, and what is being read; asks storage only when something would go.

    Everything, when storage does not tell: the next time is soon enough.
    """
    kept = retention.keep(commits)
    if len(kept) == len(commits):
        return kept
    try:
        return retention.keep(commits, in_use=in_use(storage))
    except StorageError:
        return tuple(commits)
