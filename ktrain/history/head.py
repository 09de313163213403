"""HEAD: claiming an epoch and committing a checkpoint are conditional updates of one object, so a zombie loses."""

import dataclasses
from collections.abc import Callable, Collection, Sequence

from ktrain.errors import CheckpointError, Conflict, FencedError, NotFound, StorageError
from ktrain.history.model import FORMAT, Commit, Head, Token, decode_head, encode_head
from ktrain.names import KEY_HEAD
from ktrain.storage.base import Storage

_TRIES = 100  # lost races in a row; each means that somebody else's update went through


def read_head(run_storage: Storage) -> Head | None:
    """The run's HEAD, None before the first claim."""
    found = _read(run_storage)
    return found[0] if found else None


def claim_epoch(run_storage: Storage, *, attempt: int, held: Token | None = None) -> Token:
    """The next epoch, for this caller alone; FencedError when a later attempt has claimed one already.

    Whoever `held` an epoch gets the next one only while nobody else has claimed one since: of a launcher and the zombie
    that it replaces the newer one stays, where both would fence each other for ever.
    """

    def claimed(head: Head | None) -> Head:
        head = head or Head(FORMAT, 0, 0)
        if held:
            _fenced(run_storage, head, held)
        if attempt < head.attempt:
            raise FencedError(
                f"{_where(run_storage)}: attempt {head.attempt} has taken over, attempt {attempt} must not write any more"
            )
        return dataclasses.replace(head, attempt=attempt, epoch=head.epoch + 1)

    return _update(run_storage, claimed).token


def commit(
    run_storage: Storage, token: Token, commit: Commit, *, keep: Callable[[Sequence[Commit]], Sequence[Commit]]
) -> tuple[Head, tuple[Commit, ...]]:
    """Makes a checkpoint the newest; returns HEAD and the commits that nothing refers to any more.

    Commits of the same or a later step belong to a future that was abandoned, and go.
    """
    if commit.token != token:
        raise ValueError(f"the commit is of {commit.token.prefix}, the writer is {token.prefix}")
    removed: tuple[Commit, ...] = ()

    def committed(head: Head | None) -> Head:
        nonlocal removed
        head = _fenced(run_storage, head, token)
        commits = (*(old for old in head.commits if old.step < commit.step), commit)
        kept = tuple(keep(commits))
        assert kept[-1:] == (commit,), "the newest commit is always kept"
        removed = tuple(old for old in head.commits if old not in kept)
        return dataclasses.replace(head, commits=kept, done=False)

    return _update(run_storage, committed), removed


def mark_done(run_storage: Storage, token: Token) -> Head:
    """Says that the run needs no more steps."""
    return _update(run_storage, lambda head: dataclasses.replace(_fenced(run_storage, head, token), done=True))


def drop_commits(run_storage: Storage, manifests: Collection[str]) -> Head:
    """Forgets commits, whoever writes the run now; never the newest, which is what a resume needs."""

    def dropped(head: Head | None) -> Head:
        if head is None:
            raise CheckpointError(f"{_where(run_storage)} is not there; was the run deleted?")
        kept = tuple(it for it in head.commits if it.manifest not in manifests or it is head.commits[-1])
        return dataclasses.replace(head, commits=kept)

    return _update(run_storage, dropped)


def _fenced(run_storage: Storage, head: Head | None, token: Token) -> Head:
    if head is None:
        raise CheckpointError(f"{_where(run_storage)} is gone, nothing can be committed; was the run deleted?")
    if head.token != token:
        raise FencedError(
            f"{_where(run_storage)}: epoch {head.token.prefix} has taken over, {token.prefix} must not write any more"
        )
    return head


def _update(run_storage: Storage, change: Callable[[Head | None], Head]) -> Head:
    for _ in range(_TRIES):
        found = _read(run_storage)
        head, tag = found or (None, None)
        changed = dataclasses.replace(change(head), serial=head.serial + 1 if head else 1)
        data = encode_head(changed)
        try:
            if tag is None:
                run_storage.create(KEY_HEAD, data)
            else:
                run_storage.replace(KEY_HEAD, data, tag=tag)
        except Conflict:
            continue  # somebody else was first: decide again on what they wrote
        return changed
    raise StorageError(f"{_where(run_storage)}: lost {_TRIES} races in a row; too many processes write this run")


def _read(run_storage: Storage) -> tuple[Head, str] | None:
    try:
        data, tag = run_storage.get(KEY_HEAD)
    except NotFound:
        return None
    return decode_head(data, _where(run_storage)), tag


def _where(run_storage: Storage) -> str:
    return f"{run_storage.url}/{KEY_HEAD}"
