"""How the nodes of a job agree on their next epoch: torch's RendezvousHandler over our control store."""

import os
import time
from collections.abc import Callable
from typing import Final

from torch.distributed.elastic.rendezvous import (
    RendezvousClosedError,
    RendezvousHandler,
    RendezvousInfo,
    RendezvousStoreInfo,
)

from ktrain.errors import FencedError, StorageError
from ktrain.history import Token
from ktrain_launcher.control import Control, Formed
from ktrain_launcher.stores import SAY_EVERY, Note, Pause, PrefixStore, TCPStore, host_store
from ktrain_launcher.voice import Say

POLL_SECONDS: Final = 0.05
NOTE_EVERY: Final = 2.0
LOOK_EVERY: Final = 10.0
CLAIM_TRIES: Final = 5
CLAIM_PAUSE_SECONDS: Final = 1.0


class ClosedError(RendezvousClosedError):
    """No further round: we are told to stop, the job has its verdict, or the run is done."""


class Rendezvous(RendezvousHandler):
    """Waits until all nodes are there; node 0 then claims the epoch and gives it a store of its own.

    Of two launchers for one node, which is so after a pod was given up that nobody could end, the newer one stays.
    """

    def __init__(
        self,
        control: Control,
        *,
        host: str,
        bind: str,
        run: str,
        claim: Callable[[Token | None], Token],
        is_done: Callable[[], bool],
        pause: Pause,
        note: Note,
        say: Say,
    ) -> None:
        self._control = control
        self._host, self._bind = host, bind
        self._run = run
        self._claim = claim
        self._is_done = is_done
        self._pause = pause
        self._note = note
        self._say = say
        self._me = f"{os.getpid()}-{time.time_ns()}"
        self._held: Token | None = None
        control.register(self._me)
        self._epoch_store: TCPStore | None = None
        self.round = 0
        self.formed: Formed | None = None

    def next_rendezvous(self) -> RendezvousInfo:
        """Blocks until a round that we are part of is formed; raises ClosedError, PeerLostError or StorageError."""
        self.round = self._control.enter(self.round, self._me)
        formed = self._wait()
        self.formed = formed
        return RendezvousInfo(
            PrefixStore(f"{self.round}/torch", self._control.store),
            self._control.node,
            self._control.num_nodes,
            RendezvousStoreInfo(formed.host, formed.port),
        )

    def num_nodes_waiting(self) -> int:
        """Whether anybody wants the next round."""
        return int(self._control.target() > self.round)

    @property
    def use_agent_store(self) -> bool:
        """Ranks use the store that we host: it is new in each epoch, so no key of an older one can be seen."""
        return True

    def get_backend(self) -> str:
        """For torch's logs."""
        return "ktrain"

    def get_run_id(self) -> str:
        """TORCHELASTIC_RUN_ID of the ranks."""
        return self._run or "none"

    def is_closed(self) -> bool:
        """Whether the job has its verdict."""
        return self._control.news().verdict is not None

    def set_closed(self) -> None:
        """Nothing: a verdict closes, and it needs a cause."""

    def shutdown(self) -> bool:
        """Drops the store of the ranks."""
        self._epoch_store = None
        return True

    def _wait(self) -> Formed:
        begun = said = noted = looked = time.monotonic()
        while True:
            if self._pause(0) or self.is_closed():
                raise ClosedError
            if self._control.target() > self.round:  # somebody has gone again while we waited
                self.round = self._control.enter(self.round, self._me)
            if self._control.node == 0 and self._control.is_complete(self.round):
                self._form()
            if self._control.node == 0 and time.monotonic() - looked > LOOK_EVERY:
                looked = time.monotonic()
                if self._is_done():
                    raise ClosedError
            if formed := self._control.formed(self.round):
                self._note("")
                return formed
            if time.monotonic() - noted > NOTE_EVERY:
                noted = time.monotonic()
                missing = ", ".join(map(str, self._control.missing(self.round)[:10]))
                self._note(f"waits for the launchers of nodes {missing}" if missing else "")
                if noted - said > SAY_EVERY:
                    said = noted
                    self._say("waiting_for_nodes", missing=missing, seconds=int(said - begun))
            self._pause(POLL_SECONDS)

    def _form(self) -> None:
        token = self._claimed()
        if token is None:
            raise ClosedError
        self._held = token
        # A new store for each epoch, on a port of its own: stock torchrun keeps one, and gloo then finds dead peers in it.
        self._epoch_store = host_store(self._bind, 0)
        formed = Formed(token.attempt, token.epoch, self._run, self._host, self._epoch_store.port)
        self._control.form(self.round, formed)

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
