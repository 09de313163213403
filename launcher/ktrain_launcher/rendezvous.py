"""How the nodes of a job agree on their next epoch."""

import os
import time
from collections.abc import Callable
from typing import Final

from ktrain.errors import FencedError, StorageError
from ktrain.history import Token
from ktrain.units import counted
from ktrain.voice import Say
from ktrain_launcher.control import Control, Formed
from ktrain_launcher.parking import Parking
from ktrain_launcher.quorum import Quorum, delay
from ktrain_launcher.table_client import SAY_EVERY, Note, Pause

POLL_SECONDS: Final = 0.05
NOTE_EVERY: Final = 2.0
LOOK_EVERY: Final = 10.0
CLAIM_TRIES: Final = 5
CLAIM_PAUSE_SECONDS: Final = 1.0


class ClosedError(Exception):
    """No further round: we are told to stop, the job has its verdict, or the run is done."""


class Rendezvous:
    """Waits until enough nodes are there; node 0 then claims the epoch and gives it a store of its own.

    Of two launchers for one node, which is so after a pod was given up that nobody could end, the newer one stays.
    A node that finds the others at work without it asks them for a round with it.
    """

    def __init__(
        self,
        control: Control,
        quorum: Quorum,
        *,
        host: str,
        run: str,
        claim: Callable[[Token | None], Token],
        new_store: Callable[[], int],
        is_done: Callable[[], bool],
        pause: Pause,
        note: Note,
        say: Say,
    ) -> None:
        self._control = control
        self._quorum = quorum
        self._host = host
        self._run = run
        self._claim = claim
        self._new_store = new_store
        self._is_done = is_done
        self._pause = pause
        self._note = note
        self._say = say
        self._held: Token | None = None
        self._born, self._lives = time.time_ns(), 0
        self._begun = self._said = self._noted = self._looked = 0.0
        self._crowd: tuple[frozenset[int], ...] = ()  # who has entered and who is there, and since when
        self._since = 0.0
        self._missed: float | None = None  # since when the others are known to train without us
        self._opens_at: float | None = None  # None: this round has not been asked about
        self._failures = 0
        self.park: Callable[[], Parking] = Parking
        """What node 0 asks once all nodes are there: how long to wait before the claim, or that there is none."""
        self.round = 0
        self.formed: Formed | None = None
        self.register()

    def register(self) -> None:
        """As a new launcher, of a table that knows none of our rounds: the first time, and when node 0's was made again."""
        self.round = 0
        self._lives += 1
        self._control.register(f"{self._born:020d}-{os.getpid()}-{self._lives:06d}")

    def next_round(self) -> Formed:
        """Blocks until a round that we are part of is formed; raises ClosedError, PeerLostError or StorageError."""
        self._enter()
        self.formed = self._wait()
        return self.formed

    def _enter(self) -> None:
        self.round = self._control.enter(self.round)
        self._opens_at = self._missed = None

    def _wait(self) -> Formed:
        self._begun = self._said = self._noted = self._looked = time.monotonic()
        while True:
            news = self._control.news()
            if self._pause(0) or news.verdict:
                raise ClosedError
            if news.target > self.round:  # somebody has gone again while we waited
                self._enter()
            if self._control.node == 0:
                self._lead()
            if formed := self._control.formed(self.round):
                if self._control.node in formed.nodes:
                    self._note("")
                    return formed
                self._join()
            if time.monotonic() - self._noted > NOTE_EVERY:
                self._noted = time.monotonic()
                self._tell()
            self._pause(self._control.every(POLL_SECONDS))

    def _lead(self) -> None:
        if time.monotonic() - self._looked > LOOK_EVERY:
            self._looked = time.monotonic()
            if self._is_done():
                raise ClosedError
        entered = self._control.entered(self.round)
        if self._is_met(entered) and self._may_begin():
            self._form(entered)

    def _is_met(self, entered: frozenset[int]) -> bool:
        crowd = entered, self._control.here()
        if crowd != self._crowd:
            self._crowd, self._since = crowd, time.monotonic()
        quiet = time.monotonic() - self._since
        return self._quorum.is_met(*crowd, quiet=quiet, is_first=self.formed is None)

    def _join(self) -> None:
        """Others may come at the same time, and be taken along."""
        if self._missed is None:
            self._missed = time.monotonic() + delay(self._control.deaths())
        if time.monotonic() > self._missed:
            self._control.join(self.round)

    def _may_begin(self) -> bool:
        """Whether the pause that earlier failures demand is over."""
        if self._opens_at is None:
            parking = self.park()
            if parking.sentence:
                raise ClosedError
            self._opens_at, self._failures = time.monotonic() + parking.seconds, parking.failures
            if parking.seconds:
                self._say("parked", seconds=parking.seconds, failures=parking.failures)
                self._tell()
        # Storage may have taken its time: this shows that we are alive, and hears whether we are told to stop.
        return not self._pause(0) and time.monotonic() >= self._opens_at

    def _tell(self) -> None:
        """What we wait for."""
        missing = ", ".join(map(str, self._missing()[:10]))
        rest = (self._opens_at or 0.0) - time.monotonic()
        if self._missed is not None:
            self._note("the others train without this node, and will be asked to take it in")
        elif rest > 0:
            self._note(f"waits {rest:.0f} s more before the next try, after {counted(self._failures, 'failure')}")
        elif missing:
            self._note(f"waits for the launchers of nodes {missing}")
        else:
            self._note("")
        if missing and time.monotonic() - self._said > SAY_EVERY:
            self._said = time.monotonic()
            self._say("waiting_for_nodes", missing=missing, seconds=int(self._said - self._begun))

    def _missing(self) -> list[int]:
        return sorted(set(range(self._control.num_nodes)) - self._control.entered(self.round))

    def _form(self, nodes: frozenset[int]) -> None:
        token = self._claimed()
        if token is None:
            raise ClosedError
        self._held = token
        port = self._new_store()
        self._control.form(
            self.round, Formed(token.attempt, token.epoch, self._run, self._host, port, tuple(sorted(nodes)))
        )

    def _claimed(self) -> Token | None:
        """The epoch; storage that is away for a moment must not cost every pod of the job."""
        for tries in range(1, CLAIM_TRIES):
            try:
                return self._claim(self._held)
            except FencedError:  # a later attempt, or the launcher that replaces this one: no try can help
                raise
            except StorageError as error:
                self._say("claim_failed", tries=tries, error=error)
            if self._pause(CLAIM_PAUSE_SECONDS * tries):
                return None
        return self._claim(self._held)
