"""A run in storage as all ranks see it: rank 0 decides, the others are told."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

from ktrain.errors import KtrainError
from ktrain.storage import Storage, open_storage

T = TypeVar("T")
MAPPINGS = "mappings"  # in the manifest's meta, below "dcp": where each name was in the nested state dict
BYTES = "bytes"  # there too: the names of what is no tensor


class Place:
    """Where a run is kept. Opened late and by each process for itself: a writer travels to other processes."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self.url, self._options = url, options
        self._storage: Storage | None = None

    @property
    def storage(self) -> Storage:
        """The run's storage."""
        self._storage = self._storage or open_storage(self.url, **self._options)
        return self._storage

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_storage": None}


def decided(act: Callable[[], T], group: Any) -> T:
    """What rank 0 finds, or the error that it met, on all ranks. A collective, where there are several."""
    if not dist.is_initialized() or dist.get_world_size(group) == 1:
        return act()
    found: list[Any] = [None]
    if dist.get_rank(group) == 0:
        try:
            found = [act()]
        except KtrainError as error:
            found = [error]
    dist.broadcast_object_list(found, group=group, group_src=0)
    if isinstance(found[0], KtrainError):
        raise found[0]
    result: T = found[0]
    return result
