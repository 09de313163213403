"""What the launchers of a trace's jobs say when they are asked: how training goes, or nothing."""

import json
import math
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from ktrain.errors import UnreachableError
from ktrain.names import ANNOTATION_ATTEMPT, ANNOTATION_REQUEST, LABEL_REPLICA_INDEX
from ktrain.request import Ask, Request
from ktrain_controller import web
from tests.controller.fake_objects import Object
from tests.controller.trace.clock import Clock
from tests.controller.trace.server import Server

How = Literal["stuck", "refused", "late", "broken", "odd"]
SILENCES: Final[tuple[How, ...]] = ("refused", "late", "broken", "odd")
HANG_LIMIT: Final = 60.0  # that launchers allow themselves
APART_SECONDS: Final = 30.0  # between two troubles of a job: what is done about the first may come late
FIRST_STEP: Final = 3.0  # after a gang is whole
SAVING_SECONDS: Final = 2.0


@dataclass(slots=True, eq=False)
class Trouble:
    """Of one launcher that is silent, or of one gang that stands still."""

    how: How
    pods: frozenset[str]  # uids; another pod ends it
    since: float
    until: float


@dataclass(slots=True)
class Run:
    """One job's training. Times are the test's."""

    gang: frozenset[str] = frozenset()  # uids
    formed: float = 0.0
    commit: int = -1
    committed: float = 0.0
    saved_at: float = math.inf  # when the commit is made that was asked for
    answered: set[str] = field(default_factory=set)  # requests
    skew: float = 0.0  # of the pods' clocks
    trouble: Trouble | None = None  # the newest, perhaps long over
    heard_at: float = 0.0  # its last answer
    heard_before: float = 0.0  # the one before, at another time

    @property
    def trouble_ended(self) -> float:
        """Infinite while there is one that nothing will end."""
        return self.trouble.until if self.trouble else -math.inf

    def note_answer(self, now: float) -> None:
        """Somebody has heard of it."""
        if self.heard_at != now:
            self.heard_before, self.heard_at = self.heard_at, now


class Launchers:
    """Of all jobs; a pod's address is its uid."""

    def __init__(self, api: Server, clock: Clock) -> None:
        self._api, self._clock = api, clock
        self.runs: dict[str, Run] = {}
        self.cut_at = self.whole_at = -math.inf  # when the network to them went last, and came again

    def step(self) -> None:
        """Gangs form and save."""
        for name, run in self.runs.items():
            up = self._up(name)
            self._form(run, frozenset(it["metadata"]["uid"] for it in up))
            for pod in up:
                self._answer(run, pod["metadata"].get("annotations", {}).get(ANNOTATION_REQUEST, ""))
            if self._clock.now >= run.saved_at and not self.is_in_trouble(name):
                self.commit(name)

    def commit(self, name: str) -> None:
        """The job's newest step is safe."""
        run = self.runs[name]
        run.commit, run.committed, run.saved_at = run.commit + 1, self._clock.now, math.inf

    def trouble(self, name: str, how: How, seconds: float) -> bool:
        """Begins now, unless there is one, or nobody who could have it."""
        run, up = self.runs[name], self._up(name)
        if not up or self._clock.now < max(run.formed + 2 * FIRST_STEP, run.trouble_ended + APART_SECONDS):
            return False
        pods = run.gang if how == "stuck" else frozenset({up[0]["metadata"]["uid"]})
        run.trouble = Trouble(how, pods, self._clock.now, self._clock.now + seconds)
        return True

    def is_in_trouble(self, name: str) -> bool:
        """Now."""
        trouble = self.runs[name].trouble
        return trouble is not None and self._clock.now < trouble.until

    def cut_off(self, seconds: float) -> None:
        """The network to all of them goes for so long."""
        if not self.is_cut_off:
            self.cut_at = self._clock.now
        self.whole_at = self._clock.now + seconds

    @property
    def is_cut_off(self) -> bool:
        """Now."""
        return self._clock.now < self.whole_at

    def get(self, uid: str) -> web.Page:
        """The page /status of this pod; UnreachableError."""
        pod = next((it for it in self._api.all("pods") if it["metadata"]["uid"] == uid), None)
        if self.is_cut_off or pod is None or not is_up(pod):
            raise UnreachableError("no route to host")
        name = pod["metadata"]["labels"]["ktrain.dev/job"]
        trouble = self.runs[name].trouble
        if trouble and self.is_in_trouble(name) and trouble.how != "stuck" and uid in trouble.pods:
            return _silence(trouble.how)
        self.runs[name].note_answer(self._clock.now)
        document = self._status(self.runs[name], int(pod["metadata"]["annotations"][ANNOTATION_ATTEMPT]))
        return web.Page(200, "application/json", json.dumps(document).encode())

    def _up(self, name: str) -> list[Object]:
        up = [it for it in self._api.pods(name) if is_up(it)]
        return sorted(up, key=lambda it: int(it["metadata"]["labels"][LABEL_REPLICA_INDEX]))

    def _form(self, run: Run, gang: frozenset[str]) -> None:
        if run.gang != gang:
            run.gang, run.formed, run.saved_at = gang, self._clock.now, math.inf
        if run.trouble and not (run.trouble.pods == gang if run.trouble.how == "stuck" else run.trouble.pods <= gang):
            run.trouble.until = min(run.trouble.until, self._clock.now)

    def _answer(self, run: Run, text: str) -> None:
        if text and text not in run.answered:
            run.answered.add(text)
            if Request.decode(text).ask == Ask.CHECKPOINT:
                run.saved_at = min(run.saved_at, self._clock.now + SAVING_SECONDS)

    def _status(self, run: Run, attempt: int) -> dict[str, Any]:
        """By the pod's clock."""
        now, is_stuck = self._clock.now, run.trouble is not None and run.trouble.how == "stuck"
        stepped = run.trouble.since if is_stuck and run.trouble and now < run.trouble.until else now - 0.5
        rank = {
            "rank": 0, "alive": True, "phase": "checkpoint" if run.saved_at < math.inf else "train", "step": run.commit + 1,
            "last_step_at": stepped + run.skew if now >= run.formed + FIRST_STEP else 0,
            "checkpoint_step": run.commit, "checkpoint_at": run.committed + run.skew if run.commit >= 0 else 0,
        }  # fmt: skip
        return {
            "state": "running", "epoch": 1, "attempt": attempt, "world_size": len(run.gang), "hang_limit": HANG_LIMIT,
            "now": now + run.skew, "ranks": [rank],
        }  # fmt: skip


def is_up(pod: Object) -> bool:
    """Whether its launcher lives."""
    return pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]


def _silence(how: How) -> web.Page:
    match how:
        case "broken":
            return web.Page(500, "text/html", b"oops")
        case "odd":
            return web.Page(200, "application/json", b'{"state": "running", "epoch": NaN}')
    raise UnreachableError("Connection refused" if how == "refused" else "no whole answer within 2 s")
