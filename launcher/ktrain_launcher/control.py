"""What launchers tell each other, in the table that node 0's launcher keeps: rounds, causes, the verdict."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Final

from ktrain.errors import FencedError, PeerLostError
from ktrain.names import Exit
from ktrain_launcher.exits import ECHOES
from ktrain_launcher.suspects import Suspect
from ktrain_launcher.table import KeyValues

NODES_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a round ended, as the first launcher that knows tells the others."""

    node: int
    rank: int
    code: int
    by_signal: bool = False
    message: str = ""
    is_counted: bool = False  # whether the job's budget pays


@dataclass(frozen=True, slots=True)
class Formed:
    """A round that is complete: its epoch, and where its ranks find the store that is theirs alone."""

    attempt: int
    epoch: int
    run: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class News:
    """What a launcher must know while its ranks run."""

    target: int  # the newest round that anybody asked for
    verdict: Cause | None  # the end of the whole job


@dataclass(frozen=True, slots=True)
class Pace:
    """One rank since its epoch began: sums, so that whoever looks twice knows what lies between."""

    rank: int
    node: int
    steps: float
    step_seconds: float
    peer_wait_seconds: float
    data_wait_seconds: float


class Control:
    """Typed words over the table; every call raises PeerLostError when node 0's launcher has gone."""

    def __init__(self, table: KeyValues, *, node: int, num_nodes: int, where: str) -> None:
        self._table = table
        self.node, self.num_nodes = node, num_nodes
        self._where = where
        self._first("target", "1")

    def every(self, seconds: float) -> float:
        """How often to look: where many launchers ask one table, each asks less often."""
        return seconds * max(1, self.num_nodes / NODES_AT_ONCE)

    # -- rounds ----------------------------------------------------------------------------------------------------
    def target(self) -> int:
        """The newest round that anybody asked for."""
        return int(self._peek("target") or "1")

    def ask(self, after: int) -> None:
        """Wants a round after this one; asking twice asks once."""
        with self._talking():
            self._table.swap("target", str(after), str(after + 1))

    def register(self, me: str) -> None:
        """This launcher is the node's from now on; one that was before leaves when it enters its next round."""
        self._put(f"launcher/{self.node}", me)

    def enter(self, after: int, me: str) -> int:
        """Takes this node's place in the first round after `after` where it is free; FencedError when it was replaced."""
        while True:
            if self._peek(f"launcher/{self.node}") != me:
                raise FencedError(f"another launcher of node {self.node} has taken this one's place")
            target = self.target()
            # A launcher that was made again finds its place taken by its former self, whose ranks are gone: next round.
            if target > after:
                if self._first(f"{target}/node/{self.node}", me):
                    return target
                self.blame(target, _wordless(self.node))  # before we ask: whoever follows wants to know why
            self.ask(target)

    def is_complete(self, round_: int) -> bool:
        """Whether every node has taken its place."""
        return not self.missing(round_)

    def missing(self, round_: int) -> list[int]:
        """Nodes whose place is still free."""
        return [node for node, me in enumerate(self._of_nodes(f"{round_}/node")) if me is None]

    def form(self, round_: int, formed: Formed) -> None:
        """Node 0 starts the round."""
        self._put(f"{round_}/formed", json.dumps(asdict(formed)))

    def formed(self, round_: int) -> Formed | None:
        """What node 0 has set, None before."""
        text = self._peek(f"{round_}/formed")
        return Formed(**json.loads(text)) if text else None

    # -- ends ------------------------------------------------------------------------------------------------------
    def blame(self, round_: int, cause: Cause) -> None:
        """Tells why our ranks ended; the first real cause is kept, and the first echo of each kind."""
        word = cause.code if cause.code in ECHOES else "cause"
        self._first(f"{round_}/{word}", json.dumps(asdict(cause)))

    def cause(self, round_: int) -> Cause | None:
        """The real cause, as far as any launcher knows it."""
        return _cause(self._peek(f"{round_}/cause"))

    def any_cause(self, round_: int) -> Cause | None:
        """The real cause, else the echo that says most."""
        found = self._get(*(f"{round_}/{word}" for word in ("cause", *ECHOES)))
        return _cause(next((text for text in found if text), None))

    def end_ranks(self, round_: int, codes: dict[int, int]) -> None:
        """Our ranks of this round are gone; node 0 keeps the store until everybody's are."""
        self._put(f"{round_}/codes/{self.node}", json.dumps(codes))
        self._add(f"{round_}/ended", 1)

    def have_ended(self, round_: int) -> bool:
        """Whether no node has ranks of this round any more."""
        return self._add(f"{round_}/ended", 0) >= self.num_nodes

    def codes(self, round_: int) -> dict[int, int]:
        """Exit codes by rank, of the nodes that have told."""
        found = self._of_nodes(f"{round_}/codes")
        return {int(rank): code for text in found if text for rank, code in json.loads(text).items()}

    def finish(self, round_: int) -> None:
        """All our ranks ended with 0."""
        self._add(f"{round_}/finished", 1)

    def have_finished(self, round_: int) -> bool:
        """Whether all ranks of all nodes ended with 0."""
        return self._add(f"{round_}/finished", 0) >= self.num_nodes

    def judge(self, cause: Cause) -> Cause:
        """Ends the whole job, unless somebody has already; the verdict that holds."""
        self._first("verdict", json.dumps(asdict(cause)))
        return self.news().verdict or cause

    def news(self) -> News:
        """What changed outside."""
        target, verdict = self._get("target", "verdict")
        return News(int(target or "1"), _cause(verdict))

    def leave(self) -> None:
        """We need the table no longer."""
        self._add("left", 1)

    def have_left(self) -> bool:
        """Whether all other launchers have left."""
        return self._add("left", 0) >= self.num_nodes - 1

    # -- hangs ------------------------------------------------------------------------------------------------------
    def suspect(self, round_: int, suspect: Suspect | None) -> None:
        """Our rank that stands still; None: it moves again."""
        self._put(f"{round_}/hung/{self.node}", json.dumps(asdict(suspect)) if suspect else "")

    def suspects(self, round_: int) -> list[Suspect]:
        """Of all nodes that have told."""
        return [Suspect(**json.loads(text)) for text in self._of_nodes(f"{round_}/hung") if text]

    # -- pace -------------------------------------------------------------------------------------------------------
    def tell_pace(self, round_: int, paces: Sequence[Pace]) -> None:
        """Of our ranks; in place of what we told before, in whichever round, so that the table does not grow."""
        self._put(f"pace/{self.node}", json.dumps({"round": round_, "ranks": [asdict(it) for it in paces]}))

    def paces(self, round_: int) -> list[Pace]:
        """Of this round's ranks, as far as their launchers have told."""
        told = (json.loads(text) for text in self._of_nodes("pace") if text)
        return [Pace(**each) for word in told if word["round"] == round_ for each in word["ranks"]]

    # -- the table ---------------------------------------------------------------------------------------------------
    def _first(self, key: str, value: str) -> bool:
        """Whether the key now has our value: the first one stays."""
        with self._talking():
            return self._table.put_first(key, value) == value

    def _peek(self, key: str) -> str | None:
        return self._get(key)[0]

    def _of_nodes(self, word: str) -> list[str | None]:
        return self._get(*(f"{word}/{node}" for node in range(self.num_nodes)))

    def _get(self, *keys: str) -> list[str | None]:
        with self._talking():
            return self._table.get(*keys)

    def _put(self, key: str, value: str) -> None:
        with self._talking():
            self._table.put(key, value)

    def _add(self, key: str, amount: int) -> int:
        with self._talking():
            return self._table.add(key, amount)

    @contextmanager
    def _talking(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise PeerLostError(f"the launcher of node 0 at {self._where} has gone") from error


def _wordless(node: int) -> Cause:
    """Whoever leaves by itself says why and asks for the next round, so that its place there is free."""
    how = "was killed (usually out of memory), or its node was lost"
    return Cause(node, -1, Exit.PEER, message=f"the launcher of node {node} {how}", is_counted=True)


def _cause(text: str | None) -> Cause | None:
    return Cause(**json.loads(text)) if text else None
