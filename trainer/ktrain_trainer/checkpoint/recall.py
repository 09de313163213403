"""The newest copy that the launchers' memory holds of all ranks: what a crash of ranks costs is the steps since then."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from ktrain.checkpoints.manifest import Manifest, decode_manifest, encode_manifest
from ktrain.history import Commit
from ktrain.storage import Data
from ktrain_trainer.checkpoint.cell import Held
from ktrain_trainer.checkpoint.kept import Kept, Moment, read_kept, read_moment
from ktrain_trainer.checkpoint.load import Describe, Failure, Loaded, Source, load
from ktrain_trainer.checkpoint.staging import Slab
from ktrain_trainer.checkpoint.world import World, decide

URL: Final = "memory"
_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class Recalled:
    """A copy from memory; `metric` as it would have been committed with."""

    loaded: Loaded
    metric: float | None


class _Memory:
    """This rank's objects of one copy."""

    url = URL

    def __init__(self, kept: Kept) -> None:
        self._data = {kept.share.objects[index][0]: kept.data(index) for index in kept.share.begins}

    def read(self, key: str, begin: int, end: int) -> Data:
        """Without a copy."""
        return self._data[key.rpartition("/")[2]][begin:end]


def recall(
    slabs: Sequence[Slab], world: World, describe: Describe, *, run: str, newest: Commit | None
) -> Recalled | Failure | None:
    """From the memory of each rank's launcher; None when not all ranks have one copy that is as new as the newest commit.

    Ranks find what they wrote themselves: a gang of another size, or a pod that was made again, takes what storage has.
    """
    own = _own(slabs, world, run)
    chosen = decide(world, "memory", [list(name) for name in own], partial(_choose, newest=newest), seconds=_SECONDS)
    if chosen is None:
        return None
    kept = read_kept(*own[tuple(chosen)])
    text = decide(world, "memory-sums", kept.checksums(), partial(_manifest, kept), seconds=_SECONDS)
    readers = [int(name.partition("-")[0]) for name, _ in kept.share.objects]
    source = Source(_Memory(kept), lambda: decode_manifest(text.encode(), URL), readers)
    loaded = load(source, world, describe)
    return Recalled(loaded, kept.moment.header.metric) if isinstance(loaded, Loaded) else loaded


def _own(slabs: Sequence[Slab], world: World, run: str) -> dict[tuple[Any, ...], tuple[Moment, Held]]:
    found: dict[tuple[Any, ...], tuple[Moment, Held]] = {}
    for slab in slabs:
        held = slab.cell.held() if slab.cell else None
        if held is None:
            continue
        moment = read_moment(held)
        if (moment.header.run, moment.rank, moment.world_size) == (run, world.rank, world.size):
            slab.worth = moment.header.step
            found[moment.name] = moment, held
    return found


def _choose(said: list[list[list[Any]]], *, newest: Commit | None) -> Any:
    """The newest that all have. One of an earlier epoch than the newest commit's may be of a history that was given up."""
    common = set.intersection(*({tuple(name) for name in names} for names in said))
    fits = [it for it in common if newest is None or (it[0] >= newest.step and it[1] >= newest.epoch)]
    return max(fits, default=None)


def _manifest(kept: Kept, said: list[dict[str, tuple[str, ...]]]) -> str:
    manifest: Manifest = kept.manifest({name: sums for part in said for name, sums in part.items()})
    return encode_manifest(manifest).decode()
