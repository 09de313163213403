"""Where a save goes, and its end, whoever makes it: the manifest after all objects, HEAD after the manifest."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence

from ktrain.checkpoints.manifest import Manifest, encode_manifest
from ktrain.history import Commit, Head, Token, commit
from ktrain.names import KEY_MANIFEST
from ktrain.storage import Storage


class Folders:
    """Names the folders of one writer's saves, on all ranks alike; none is ever written twice."""

    def __init__(self, token: Token) -> None:
        self._token = token
        self._saves: Counter[int] = Counter()

    def new(self, step: int) -> str:
        """For the next save of this step: a second one gets a folder of its own."""
        self._saves[step] += 1
        again = f"-{self._saves[step]}" if self._saves[step] > 1 else ""
        return f"{self._token.prefix}/step-{step:09d}{again}"


def commit_manifest(
    storage: Storage,
    token: Token,
    manifest: Manifest,
    *,
    folder: str,
    metric: float | None,
    keep: Callable[[Sequence[Commit]], Sequence[Commit]],
) -> tuple[Commit, Head, tuple[Commit, ...]]:
    """Makes a save whose objects are durable the newest commit; returns it, HEAD, and what nothing refers to any more."""
    data, key = encode_manifest(manifest), f"{folder}/{KEY_MANIFEST}"
    # A step that HEAD does not name was never saved.
    storage.create(key, data)
    made = Commit(
        step=manifest.step,
        manifest=key,
        sha256=hashlib.sha256(data).hexdigest(),
        attempt=token.attempt,
        epoch=token.epoch,
        size_bytes=manifest.size_bytes,
        created=manifest.created,
        metric=metric,
    )
    head, removed = commit(storage, token, made, keep=keep)
    return made, head, removed
