"""What is written beside a copy in a launcher's memory, so that those who come later can make a checkpoint of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter

from ktrain.checkpoints.manifest import Manifest, ObjectEntry, TensorEntry, block_checksums
from ktrain.history import Token
from ktrain_trainer.checkpoint.cell import Held
from ktrain_trainer.checkpoint.entries import make_manifest, tensor_entries
from ktrain_trainer.checkpoint.header import Header
from ktrain_trainer.checkpoint.plan import Layout, Plan

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Share:
    """One rank's part of a plan: as long as that stays."""

    objects: tuple[tuple[str, int], ...]  # of all ranks: file name, bytes
    begins: dict[int, int]  # where those of this rank, by index, begin in the copy
    tensors: dict[str, TensorEntry]


@dataclass(frozen=True, slots=True)
class Moment:
    """Which copy it is."""

    token: Token
    rank: int
    world_size: int
    digest: str  # of the plan
    header: Header

    @property
    def name(self) -> tuple[int, int, int, str]:
        """The same on all ranks for their parts of one copy: step, epoch, attempt, digest of the plan."""
        return self.header.step, self.token.epoch, self.token.attempt, self.digest


_SHARE = TypeAdapter(Share)
_MOMENT = TypeAdapter(Moment)


@dataclass(frozen=True, slots=True)
class Kept:
    """A whole copy, read."""

    moment: Moment
    held: Held
    share: Share

    def data(self, index: int) -> memoryview:
        """The bytes of an object of this rank's."""
        begin = self.share.begins[index]
        return self.held.data[begin : begin + self.share.objects[index][1]]

    def checksums(self) -> dict[str, tuple[str, ...]]:
        """Of this rank's objects, by file name."""
        return {self.share.objects[at][0]: block_checksums(self.data(at), BLOCK_BYTES) for at in self.share.begins}

    def manifest(self, checksums: Mapping[str, tuple[str, ...]]) -> Manifest:
        """Of the whole copy, by the checksums of all ranks' objects."""
        moment = self.moment
        folder = f"{moment.token.prefix}/step-{moment.header.step:09d}"
        objects = [
            ObjectEntry(f"{folder}/{name}", size, BLOCK_BYTES, tuple(checksums[name]))
            for name, size in self.share.objects
        ]
        return make_manifest(
            moment.token, moment.header, world_size=moment.world_size, objects=objects, tensors=self.share.tensors
        )


def write_share(plan: Plan, layouts: Mapping[str, Layout], rank: int, begins: Sequence[int]) -> bytes:
    """For what lasts. begins: where this rank's objects begin in the copy."""
    objects = tuple((item.file_name, item.size_bytes) for item in plan.objects)
    own = [index for index, item in enumerate(plan.objects) if item.rank == rank]
    share = Share(objects, dict(zip(own, begins, strict=True)), tensor_entries(layouts, plan))
    return _SHARE.dump_json(share)


def write_moment(moment: Moment) -> bytes:
    """For what passes; ValueError for numbers that are none, which no manifest can hold either."""
    return json.dumps(_MOMENT.dump_python(moment), allow_nan=False, separators=(",", ":")).encode()


def read_moment(held: Held) -> Moment:
    """Which copy it is; ValueError when another version of this program has made it."""
    return _MOMENT.validate_json(held.passing)


def read_kept(moment: Moment, held: Held) -> Kept:
    """The whole copy."""
    return Kept(moment, held, _SHARE.validate_json(held.lasting))
