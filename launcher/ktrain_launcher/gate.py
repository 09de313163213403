"""The gate before each epoch: it knows how the ones before have ended, also when this launcher did not see them."""

import time
from collections.abc import Callable
from typing import Final

from ktrain import names
from ktrain.errors import StorageError
from ktrain.history import Token, read_head
from ktrain.names import Exit
from ktrain.spec.platform import Restart
from ktrain.storage import Storage
from ktrain.voice import Say
from ktrain_launcher import past
from ktrain_launcher.journal import Journal, Outcome
from ktrain_launcher.parking import Parking, decide

MAX_READ: Final = 200
SKEW_SECONDS: Final = 300.0  # by which storage's clock may differ from ours


class Gate:
    """Reads the records of earlier epochs; a storage that does not answer opens it, because the claim will tell."""

    def __init__(
        self,
        run: Storage,
        journal: Journal,
        restart: Restart,
        *,
        attempt: int,
        node: int,
        pause: Callable[[float], bool],
        say: Say,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._run, self._journal, self._restart = run, journal, restart
        self._attempt, self._node = attempt, node
        self._pause, self._say, self._clock = pause, say, clock
        self._born = clock()
        self.newest: Token | None = None
        """The newest epoch that anybody told of, as far as we have looked."""

    def look(self) -> Parking:
        """What earlier failures demand before the next epoch."""
        try:
            return self._look()
        except StorageError as error:
            self._say("storage_failed", key=names.DIR_EPOCHS, error=error)
            return Parking()

    def close(self, parking: Parking) -> None:
        """The job is given up: a record of it, from which on the budget is whole for whoever submits the job again."""
        try:
            token = self._next()
        except StorageError as error:
            self._say("storage_failed", key=names.KEY_HEAD, error=error)
            return
        self._journal.given_up(token, Outcome(Exit.EXHAUSTED, parking.sentence, parking.rank), at=self._clock())

    def charge(self, error: Exception) -> Outcome:
        """The end of a launcher that failed by our own mistake before it had an epoch; free, it would come back for ever."""
        told = f"the launcher failed: {type(error).__name__}: {error}"
        failed = Outcome(Exit.PEER, told)
        try:
            token = self._next()
        except StorageError as away:
            self._say("storage_failed", key=names.KEY_HEAD, error=away)
            return failed
        self._journal.failed(token, self._node, failed, started=self._born, at=self._clock())
        parking = self.look()
        if not parking.sentence:
            return failed
        self.close(parking)
        return Outcome(Exit.EXHAUSTED, parking.sentence)

    def _look(self) -> Parking:
        keys = past.list_keys(self._run)
        if not keys:
            return Parking()
        self.newest = max((key.token for key in keys if key.is_epoch), default=None)
        self._pause(0)  # each request may take its time, and we are alive
        head = read_head(self._run)
        commit = head.newest.token if head and head.newest else None
        now = self._clock()
        since = now - self._restart.window.total_seconds() - SKEW_SECONDS
        limit = max(MAX_READ, self._restart.max + 1)  # fewer could never exceed the budget
        # A later attempt is the controller's doing, which keeps a budget of its own, and knows what was free.
        ours = [key for key in keys if key.token.attempt == self._attempt]
        wanted = past.needed(ours, commit=commit, since=since, limit=limit)
        records, unreadable = past.read(self._run, wanted, is_stopped=lambda: self._pause(0))
        if unreadable:
            self._say("records_unreadable", key=names.DIR_EPOCHS, count=unreadable)
        return decide(records, commit=commit, restart=self._restart, born=self._born, now=now)

    def _next(self) -> Token:
        """The epoch that was not to be."""
        head = read_head(self._run)
        return Token(self._attempt, head.epoch + 1 if head else 1)
