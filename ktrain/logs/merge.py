"""Lines of several pods in the order in which they were written. Pure."""

import heapq
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ktrain.units import counted

_RANK: Final = re.compile(r"\[rank (\d+)\] ?")
_LOST: Final = "lost another rank: "


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """One line; the time is that of the node's clock, RFC 3339 in UTC, which sorts as text."""

    time: str
    node: int
    text: str

    @property
    def rank(self) -> int | None:
        """Who wrote it; None for the launcher itself."""
        found = _RANK.match(self.text)
        return int(found[1]) if found else None

    def shown(self) -> str:
        """For people: ranks carry their own prefix, launchers get one."""
        return self.text if self.rank is not None else f"[node {self.node}] {self.text}"


def parse(text: str, node: int) -> Line:
    """A line of the API with `timestamps=true`."""
    time, _, rest = text.partition(" ")
    return Line(time, node, rest)


def merge(pods: Iterable[Iterable[Line]]) -> Iterator[Line]:
    """By time; each pod's own order is kept."""
    return heapq.merge(*pods, key=lambda line: line.time)


def only(lines: Iterable[Line], rank: int | None) -> Iterator[Line]:
    """Those of one rank."""
    return (line for line in lines if rank is None or line.rank == rank)


def folded(lines: Iterable[Line]) -> Iterator[str]:
    """As shown; ranks that only felt another's failure are counted, not quoted one by one."""
    felt = 0
    for line in lines:
        if _LOST in line.text:
            felt += 1
            continue
        if felt:
            yield _felt(felt)
            felt = 0
        yield line.shown()
    if felt:
        yield _felt(felt)


def _felt(count: int) -> str:
    return f"… {counted(count, 'rank')} lost another one and stopped"
