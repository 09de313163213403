"""What launchers tell each other, in the table that node 0's launcher keeps: rounds, causes, the verdict."""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Final

from ktrain.errors import FencedError, PeerLostError
from ktrain.names import Exit
from ktrain_launcher.exits import ECHOES
from ktrain_launcher.suspects import Suspect
from ktrain_launcher.table import KeyValues

NODES_AT_ONCE: Final = 100
_LEFT: Final = "left"
_DIED: Final = "died"


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
    """A round that is complete: its epoch, who is in it, and where its ranks find the store that is theirs alone."""

    attempt: int
    epoch: int
    run: str
    host: str
    port: int
    nodes: tuple[int, ...]  # in the order of their ranks


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
        self._me = ""
        self._first("target", "1")

    def move(self, table: KeyValues) -> None:
        """Node 0's launcher was made again, and with it the table: nothing is in it yet."""
        self._table = table
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
        """This launcher is the node's from now on; one that was before leaves when it enters its next round.

        me: begins with when it was born, so that texts are ordered as launchers are. FencedError when a later one is there:
        a node that was cut off comes back to find that it has been replaced.
        """
        self._me = me
        (other,) = self._get(f"launcher/{self.node}")
        if other and other > me and self._get(f"gone/{other}") == [None]:
            raise self._replaced()
        with self._talking():
            self._table.will(f"gone/{me}", _DIED)
        self._put(f"launcher/{self.node}", me)

    def enter(self, after: int) -> int:
        """Takes this node's place in the first round after `after` where it is free; FencedError when it was replaced."""
        while True:
            if self._peek(f"launcher/{self.node}") != self._me:
                raise self._replaced()
            target = self.target()
            if target > after:
                if self._take_place(target):
                    return target
                self._bury(target, self.node)  # before we ask: whoever follows wants to know why
            self.ask(target)

    def _take_place(self, round_: int) -> bool:
        """A launcher that was made again finds its place taken by its former self. Had that ranks, they are gone: next round."""
        place = f"{round_}/node/{self.node}"
        if self._first(place, self._me):
            return True
        if (formed := self.formed(round_)) and self.node not in formed.nodes:
            self._put(place, self._me)
            return True
        return False

    def _replaced(self) -> FencedError:
        return FencedError(f"another launcher of node {self.node} has taken this one's place")

    def here(self) -> frozenset[int]:
        """Nodes whose launchers are there, and have not said that they leave."""
        launchers = self._of_nodes("launcher")
        return frozenset(node for node, end in self._ends(launchers).items() if end is None)

    def entered(self, round_: int) -> frozenset[int]:
        """Of these, the nodes that have taken their place."""
        places = self._of_nodes(f"{round_}/node")
        current = [me if me == now else None for me, now in zip(places, self._of_nodes("launcher"), strict=True)]
        return frozenset(node for node, end in self._ends(current).items() if end is None)

    def join(self, round_: int) -> None:
        """Asks those who train without us for a round with us."""
        self.blame(round_, Cause(self.node, -1, Exit.MEMBERSHIP, message=f"node {self.node} joins"))
        self.ask(round_)

    def deaths(self) -> int:
        """How often this node's launcher was lost while its ranks ran, or they failed, since node 0's launcher is there."""
        return self._add(f"deaths/{self.node}", 0)

    def bury(self, round_: int, nodes: Collection[int]) -> None:
        """Asks for the next round when a launcher of this one has gone whose ranks were not done."""
        places = self._of_nodes(f"{round_}/node")
        ends = self._ends([me if node in nodes else None for node, me in enumerate(places)])
        for node in (node for node, end in ends.items() if end):
            finished, codes = self._get(f"{round_}/finished/{node}", f"{round_}/codes/{node}")
            if finished:
                continue
            if not codes and ends[node] == _DIED:
                self._bury(round_, node)
            elif not codes:  # told to go between the round's beginning and its own
                self.blame(round_, Cause(node, -1, Exit.PREEMPTED, message=f"node {node} was told to go"))
            self.ask(round_)

    def _bury(self, round_: int, node: int) -> None:
        if self._add(f"{round_}/lost/{node}", 1) == 1:
            self._add(f"deaths/{node}", 1)
            self._first(f"{round_}/cause", json.dumps(asdict(_wordless(node))))

    def _ends(self, launchers: Sequence[str | None]) -> dict[int, str | None]:
        """By node, of those that are named: how each has gone, None when it is there."""
        named = {node: me for node, me in enumerate(launchers) if me}
        return dict(zip(named, self._get(*(f"gone/{me}" for me in named.values())), strict=True))

    def form(self, round_: int, formed: Formed) -> None:
        """Node 0 starts the round."""
        self._put(f"{round_}/formed", json.dumps(asdict(formed)))

    def formed(self, round_: int) -> Formed | None:
        """What node 0 has set, None before."""
        text = self._peek(f"{round_}/formed")
        if not text:
            return None
        found = json.loads(text)
        return Formed(**found | {"nodes": tuple(found["nodes"])})

    # -- ends ------------------------------------------------------------------------------------------------------
    def blame(self, round_: int, cause: Cause) -> None:
        """Tells why our ranks ended; the first real cause is kept, and the first echo of each kind."""
        word = cause.code if cause.code in ECHOES else "cause"
        self._first(f"{round_}/{word}", json.dumps(asdict(cause)))
        if cause.is_counted and word == "cause":
            self._add(f"deaths/{cause.node}", 1)

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

    def have_ended(self, round_: int, nodes: Collection[int]) -> bool:
        """Whether none of these nodes has ranks of this round any more."""
        return all(self._get(*(f"{round_}/codes/{node}" for node in nodes)))

    def codes(self, round_: int) -> dict[int, int]:
        """Exit codes by rank, of the nodes that have told."""
        found = self._of_nodes(f"{round_}/codes")
        return {int(rank): code for text in found if text for rank, code in json.loads(text).items()}

    def finish(self, round_: int) -> None:
        """All our ranks ended with 0."""
        self._put(f"{round_}/finished/{self.node}", "1")

    def have_finished(self, round_: int, nodes: Collection[int]) -> bool:
        """Whether all ranks of these nodes ended with 0."""
        return all(self._get(*(f"{round_}/finished/{node}" for node in nodes)))

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
        self._put(f"gone/{self._me}", _LEFT)
        with self._talking():
            self._table.will(f"gone/{self._me}", _LEFT)

    def have_left(self) -> bool:
        """Whether all other launchers have gone."""
        return not self.here() - {self.node}

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
    message = f"the launcher of node {node} {how}"
    return Cause(node, -1, Exit.PEER, by_signal=True, message=message, is_counted=True)


def _cause(text: str | None) -> Cause | None:
    return Cause(**json.loads(text)) if text else None
