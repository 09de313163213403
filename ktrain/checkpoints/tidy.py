"""Removing what no commit refers to."""

from collections.abc import Iterable

from ktrain.history import Commit, Head, Token
from ktrain.storage import Storage


def remove(storage: Storage, removed: Iterable[Commit]) -> None:
    """Deletes the folders of commits that HEAD no longer has."""
    for commit in removed:
        storage.delete_folder(folder_of(commit))


def sweep(storage: Storage, token: Token, head: Head) -> list[str]:
    """Deletes what interrupted saves of older epochs left, and returns their folders; never the current epoch's.

    Safe while others run: a folder that HEAD does not name can never be committed any more, its epoch is over.
    """
    named = {folder_of(commit) for commit in head.commits}
    orphans = [
        f"{epoch}/{folder}"
        for epoch in storage.folders()
        if _is_older(epoch, token)
        for folder in storage.folders(f"{epoch}/")
        if f"{epoch}/{folder}" not in named
    ]
    for folder in orphans:
        storage.delete_folder(folder)
    return orphans


def folder_of(commit: Commit) -> str:
    """The folder that holds a commit's manifest and objects, and nothing else."""
    return commit.manifest.rpartition("/")[0]


def _is_older(name: str, token: Token) -> bool:
    try:
        return Token.parse(name).epoch < token.epoch
    except ValueError:  # metrics, state and whatever else the run keeps
        return False
