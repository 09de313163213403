"""Removing commits that nobody wants any more, and what interrupted saves left behind."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from ktrain.checkpoints.readers import keep
from ktrain.checkpoints.retention import Retention
from ktrain.checkpoints.tidy import remove, sweep
from ktrain.history import Commit, Head, drop_commits, read_head
from ktrain.storage import Storage


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, or would be."""

    removed: tuple[Commit, ...]
    kept: tuple[Commit, ...]
    orphans: tuple[str, ...] = ()  # folders of saves that never became commits

    @property
    def freed_bytes(self) -> int:
        """Of the commits; what orphans hold is not counted."""
        return sum(commit.size_bytes for commit in self.removed)


def plan(storage: Storage, head: Head, retention: Retention) -> Pruned:
    """What pruning would do."""
    kept = keep(storage, retention, head.commits)
    return Pruned(tuple(commit for commit in head.commits if commit not in kept), kept)


def prune(storage: Storage, wanted: Pruned) -> Pruned:
    """Takes them out of HEAD first, so that no reader begins on what is being deleted; a commit made meanwhile stays."""
    head = drop_commits(storage, _names(wanted.removed))
    remove(storage, wanted.removed)
    return dataclasses.replace(wanted, kept=head.commits, orphans=tuple(sweep(storage, head.token, head)))


def newest(storage: Storage) -> Head | None:
    """HEAD, when it has a commit."""
    head = read_head(storage)
    return head if head and head.commits else None


def _names(commits: Sequence[Commit]) -> frozenset[str]:
    return frozenset(commit.manifest for commit in commits)
