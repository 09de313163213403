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
from ktrain_launcher.table_client import SAY_EVERY, Note, Pause

POLL_SECONDS: Final = 0.05
NOTE_EVERY: Final = 2.0
LOOK_EVERY: Final = 10.0
CLAIM_TRIES: Final = 5
CLAIM_PAUSE_SECONDS: Final = 1.0


class ClosedError(Exception):
    """No further round: we are told to stop, the job has its verdict, or the run is done."""


class Rendezvous:
    """Waits until all nodes are there; node 0 then claims the epoch and gives it a store of its own.

    Of two launchers for one node, which is so after a pod was given up that nobody could end, the newer one stays.
    """

    def __init__(
        self,
        control: Control,
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
        self._host = host
        self._run = run
        self._claim = claim
        self._new_store = new_store
        self._is_done = is_done
        self._pause = pause
        self._note = note
        self._say = say
        self._me = f"{os.getpid()}-{time.time_ns()}"
        self._held: Token | None = None
        control.register(self._me)
        self._begun = self._said = self._noted = self._looked = 0.0
        self._opens_at: float | None = None  # None: this round has not been asked about
        self._failures = 0
        self.park: Callable[[], Parking] = Parking
        """What node 0 asks once all nodes are there: how long to wait before the claim, or that there is none."""
        self.round = 0
        self.formed: Formed | None = None

    def next_round(self) -> Formed:
        """Blocks until a round that we are part of is formed; raises ClosedError, PeerLostError or StorageError."""
        self.round = self._control.enter(self.round, self._me)
        self.formed = self._wait()
        return self.formed

    def _wait(self) -> Formed:
        self._begun = self._said = self._noted = self._looked = time.monotonic()
        self._opens_at = None
        while True:
            news = self._control.news()
            if self._pause(0) or news.verdict:
                raise ClosedError
            if news.target > self.round:  # somebody has gone again while we waited
                self.round = self._control.enter(self.round, self._me)
                self._opens_at = None
            if self._control.node == 0:
                self._lead()
            if formed := self._control.formed(self.round):
                self._note("")
                return formed
            if time.monotonic() - self._noted > NOTE_EVERY:
                self._noted = time.monotonic()
                self._tell()
            self._pause(self._control.every(POLL_SECONDS))

    def _lead(self) -> None:
        if time.monotonic() - self._looked > LOOK_EVERY:
            self._looked = time.monotonic()
            if self._is_done():
                raise ClosedError
        if self._control.is_complete(self.round) and self._may_begin():
            self._form()

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
        missing = ", ".join(map(str, self._control.missing(self.round)[:10]))
        rest = (self._opens_at or 0.0) - time.monotonic()
        if missing:
            self._note(f"waits for the launchers of nodes {missing}")
        elif rest > 0:
            self._note(f"waits {rest:.0f} s more before the next try, after {counted(self._failures, 'failure')}")
        else:
            self._note("")
        if missing and time.monotonic() - self._said > SAY_EVERY:
            self._said = time.monotonic()
            self._say("waiting_for_nodes", missing=missing, seconds=int(self._said - self._begun))

    def _form(self) -> None:
        token = self._claimed()
        if token is None:
            raise ClosedError
        self._held = token
        self._control.form(
            self.round, Formed(token.attempt, token.epoch, self._run, self._host, port=self._new_store())
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
