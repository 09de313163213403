"""Which runs stand on one side of a comparison, and which of them belong together as pairs."""

import fnmatch
import glob
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktrain import names
from ktrain.errors import KtrainError, NotFound
from ktrain.named import NoRunError, find_run
from ktrain.records import read_records
from ktrain.storage import open_storage
from ktrain.tune.measure import At, Curve, Direction, checked
from ktrain.units import counted

_WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Member:
    """A run with its value, and what tells it from its siblings: seed and fold."""

    name: str
    run: str
    key: tuple[int, int]  # seed and fold, -1 where there are none
    curve: Curve
    value: float


@dataclass(frozen=True, slots=True)
class Side:
    """Runs that differ by chance only."""

    name: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Members of two sides that belong together, how that was found, and how many were left alone."""

    a: tuple[Member, ...]
    b: tuple[Member, ...]
    by: str
    alone: int


def read_side(text: str, metric: str, *, at: At, direction: Direction) -> Side:
    """Runs of a comma list, of which each may be a pattern; NoRunError when there is none."""
    sources = [source for part in text.split(",") if part for source in expand(part)]
    if not sources:
        raise NoRunError(f"{text!r} names no run; write folders or URLs, with commas between them")
    return Side(text, tuple(_member(source, metric, at, direction) for source in sources))


def expand(source: str) -> list[str]:
    """The folders that a pattern stands for, sorted; what is no pattern stands for itself."""
    if not _WILD & set(source):
        return [source]
    if "://" in source:
        above, _, pattern = source.rstrip("/").rpartition("/")
        if _WILD & set(above):
            raise KtrainError(f"{source}: in a URL only the last part may be a pattern")
        return [f"{above}/{name}" for name in open_storage(above).folders() if fnmatch.fnmatch(name, pattern)]
    return sorted(found for found in glob.glob(source) if Path(found).is_dir())  # noqa: PTH207  -- a user's pattern


def pair(a: Side, b: Side) -> Pairs:
    """By seed and fold where both sides can be told apart by them, else as they stand; KtrainError when neither is possible."""
    left, right = ({it.key: it for it in side.members} for side in (a, b))
    both = sorted(left.keys() & right.keys())
    if len(left) == len(a.members) and len(right) == len(b.members) and both:
        alone = len(left) + len(right) - 2 * len(both)
        return Pairs(tuple(left[it] for it in both), tuple(right[it] for it in both), "seed and fold", alone)
    if len(a.members) == len(b.members):
        return Pairs(a.members, b.members, "order", 0)
    raise KtrainError(
        f"{a.name} has {counted(len(a.members), 'run')} and {b.name} has {len(b.members)}, and seeds and folds do not tell which belong "
        "together; name as many on each side, in the same order"
    )


def _member(source: str, metric: str, at: At, direction: Direction) -> Member:
    storage, run = find_run(source)
    try:
        spec = json.loads(storage.get(names.KEY_SPEC)[0])
    except NotFound:
        raise NoRunError(f"{storage.url} is no run; name a job file, a job's folder or a run's folder") from None
    found = checked(read_records(storage), metric, storage.url)
    name = f"{spec.get('metadata', {}).get('name', 'run')}/{run[:8]}"
    return Member(name, storage.url, _key(spec), found, found.value(at, direction))


def _key(spec: dict[str, Any]) -> tuple[int, int]:
    trainer = spec.get("spec", {}).get("trainer") or {}
    fold = (trainer.get("data") or {}).get("fold") or {}
    return int(trainer.get("seed", -1)), int(fold.get("index", -1))
