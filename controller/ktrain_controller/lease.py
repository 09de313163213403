"""Which of the controllers acts: the one that holds the Lease."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from ktrain.cluster import LEASE
from ktrain.cluster.kinds import Kind
from ktrain.errors import ClusterError, ForbiddenError, TakenError

Object = dict[str, Any]
DURATION: Final = 15.0  # a candidate takes over when the record has not changed for so long
DEADLINE: Final = 10.0  # the leader has ceased to lead when it has not renewed for so long: sooner, to be safe
RETRY: Final = 2.0
HURRY: Final = 0.5  # a leader's whose renewal failed: an API that is away for 8 s must not cost the lead


class Api(Protocol):
    """What a Lease needs of the cluster: ktrain.cluster.Cluster, best one whose requests end before the deadline."""

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """The newest there is, never a cached one."""

    def create(self, kind: Kind, document: Object) -> Object:
        """Of two at once one gets TakenError."""

    def patch(self, kind: Kind, namespace: str, name: str, change: Object) -> Object:
        """TakenError when the object is not the one that the change names by resourceVersion and uid."""


@dataclass(frozen=True, slots=True)
class _Record:
    holder: str
    transitions: int
    duration: float  # that its holder relies on
    version: str
    uid: str
    acquired: str
    mark: str  # differs after every renewal

    @classmethod
    def of(cls, lease: Object) -> "_Record":
        meta, spec = lease["metadata"], lease.get("spec") or {}
        return cls(
            holder=spec.get("holderIdentity") or "",
            transitions=int(spec.get("leaseTransitions") or 0),
            duration=float(spec.get("leaseDurationSeconds") or DURATION),
            version=meta["resourceVersion"],
            uid=meta["uid"],
            acquired=spec.get("acquireTime") or "",
            mark=f"{meta['uid']} {sorted(spec.items())}",
        )


class Lease:
    """One candidate. `identity` must be new with each start of a process: whoever finds its own name there, leads.

    Times are compared by `clock` alone, each candidate with what it has seen itself; `wall` is for people to read.
    So no step of a wall clock can give or take a lease. The clock must go on while a process is stopped.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        identity: str,
        *,
        clock: Callable[[], float],
        wall: Callable[[], datetime],  # aware
        pause: Callable[[float], object],  # such as the stop event's wait
        on_start: Callable[[], object] = lambda: None,
        on_stop: Callable[[], object] = lambda: None,  # returns when nobody acts any more; may come late, see is_leader
        say: Callable[[str], object] = lambda _sentence: None,  # what keeps it from taking part, once
    ) -> None:
        assert identity
        self._api, self._namespace, self._name, self._identity = api, namespace, name, identity
        self._clock, self._wall, self._pause = clock, wall, pause
        self._on_start, self._on_stop, self._say = on_start, on_stop, say
        self._renewed = float("-inf")  # when the last write that succeeded was begun
        self._leads = False  # on_start was called, and on_stop not yet
        self._mark = ""
        self._seen = float("-inf")  # when the record was first seen as it is
        self._patience = 0.0  # for how long it has to stay so
        self.transitions = 0  # as the record counts them: the leader's term
        self.trouble = ""  # the last attempt's, a sentence

    @property
    def is_leader(self) -> bool:
        """Whether to act: asked right before each write, as a process may have been stopped for any time before it.

        Needs no request and no other thread, so it is true in time even while the API hangs and `on_stop` waits.
        """
        return self._clock() - self._renewed < DEADLINE

    def run(self, stop: threading.Event) -> None:
        """Takes part until told to stop, and then hands over at once."""
        try:
            while not stop.is_set():
                self._pause(self.attempt())
        finally:
            self.release()

    def attempt(self) -> float:
        """Renews, or takes over when it may; returns the seconds until the next time.

        A lead that was lost is told before another begins.
        """
        if self._leads and not self.is_leader:
            self._end()
        is_done = self._try(self._attempt)
        if is_done:
            self._note("")
        if self.is_leader and not self._leads:
            self._leads = True
            self._on_start()
        elif self._leads and not self.is_leader:
            self._end()
        return HURRY if self._leads and not is_done else RETRY

    def release(self) -> None:
        """Acts no more, and only then lets the next one in; nothing where another leads."""
        self._end()
        self._try(self._release)

    def _end(self) -> None:
        self._renewed = float("-inf")
        if self._leads:
            self._pass_on()

    def _try(self, do: Callable[[], None]) -> bool:
        try:
            do()
        except TakenError as error:
            self._note(f"another has written the lease at the same moment: {error}")
        except ForbiddenError as error:
            self._note(
                f"the account may not use the lease {self._namespace}/{self._name}, so nobody leads: {error}; its Role "
                "needs get, create and patch on leases of coordination.k8s.io"
            )
        except (ClusterError, ValueError, KeyError, TypeError) as error:  # the last three: an answer that is no Lease
            self._note(f"the lease {self._namespace}/{self._name} cannot be renewed: {type(error).__name__} {error}")
        else:
            return True
        return False

    def _note(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            self._say(trouble)
        self.trouble = trouble

    def _attempt(self) -> None:
        record = self._look()
        if record is not None and record.holder not in {"", self._identity}:
            self._renewed = float("-inf")  # whatever we believe: somebody else leads
        if record is not None and record.holder == self._identity:
            self._write(record, record.transitions, record.acquired)
        elif self.is_leader or self._clock() >= self._seen + self._patience:  # a leader, though its lease was deleted
            self._write(record, record.transitions + 1 if record else 0, "")

    def _look(self) -> _Record | None:
        found = self._api.find(LEASE, self._namespace, self._name)
        record = _Record.of(found) if found else None
        mark = record.mark if record else ""
        if mark != self._mark:
            # After the answer, not before the question: it may have been written in between.
            self._mark, self._seen = mark, self._clock()
        if record is not None:
            self._patience = record.duration if record.holder else 0.0
        return record  # where somebody deletes it the patience stays: its holder leads on, and will write it anew

    def _write(self, record: _Record | None, transitions: int, acquired: str) -> None:
        began = self._clock()  # others count from when they see it, which is later
        spec = self._spec(self._identity, transitions, acquired)
        if record is None:
            meta = {"name": self._name, "namespace": self._namespace}
            document = {"apiVersion": LEASE.api, "kind": LEASE.name, "metadata": meta, "spec": spec}
            self._api.create(LEASE, document)
        else:
            self._patch(record, spec)
        before, self._renewed, self.transitions = self._renewed, began, transitions
        if self._leads and self._clock() - before >= DEADLINE:
            self._pass_on()  # while this was under way we did not lead: what came up meanwhile was left lying

    def _pass_on(self) -> None:
        self._leads = False
        self._on_stop()

    def _release(self) -> None:
        record = self._look()
        if record is not None and record.holder == self._identity:
            self._patch(record, self._spec("", record.transitions, record.acquired))

    def _patch(self, record: _Record, spec: Object) -> None:
        meta = {"resourceVersion": record.version, "uid": record.uid}
        self._api.patch(LEASE, self._namespace, self._name, {"metadata": meta, "spec": spec})

    def _spec(self, holder: str, transitions: int, acquired: str) -> Object:
        now = self._wall().isoformat(timespec="microseconds").replace("+00:00", "Z")
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": int(DURATION),
            "acquireTime": acquired or now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }
