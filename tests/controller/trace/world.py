"""What a controller looks after in a trace: a server, its operator, nodes and jobs; and how their pods end."""

from collections.abc import Iterable
from random import Random
from typing import Final

import pytest

from ktrain.names import Exit
from ktrain_controller import web
from ktrain_controller.project import JOB_NAME
from tests.controller.fake_objects import Object
from tests.controller.operator import NAMESPACE, Operator
from tests.controller.trace.brain import Brain
from tests.controller.trace.clock import Clock
from tests.controller.trace.launchers import Launchers, Run, is_up
from tests.controller.trace.server import Server
from tests.controller.trace.truth import Charge, Truth
from tests.controller.trace.turns import Turns

RESTART: Final = {"max": 3, "window": "20m", "backoff": {"base": "2s", "cap": "10s"}}
NODES: Final = ("node-0", "node-1", "node-2")


class Hands(Operator):
    """Gives each pod an address by which it is known."""

    def _address(self, uid: str) -> str:
        return uid


class World:
    """Serves from `open` to `close`; `truths` says what happened to its jobs."""

    def __init__(self, seed: int) -> None:
        self._seed, self.clock = seed, Clock()
        self.chance = self.draw("faults")
        self.turns = Turns(self.draw("turns"))
        self.api = Server(self.clock, self.turns, self.draw("uids"))
        self.operator = Hands(self.api)
        self.launchers = Launchers(self.api, self.clock)
        self._patch = pytest.MonkeyPatch()
        self.truths: dict[str, Truth] = {}
        self.broken: set[str] = set()  # nodes that have ever been lost
        self.troubles: list[float] = []  # when the clock was set, or the controller was started
        self.lost: dict[str, float] = {}  # kinds whose watch was lost, and when
        self.brain: Brain
        self.gangs: dict[str, set[str]] = {}  # by breakdown: uids of all who were there
        self._submitted = self._breakdowns = 0

    def open(self) -> None:
        """With all jobs at work."""
        self._patch.setattr(web, "get", self._get)  # ten thousand steps would ask for a hundred thousand pages
        self.operator.add_nodes(*NODES)
        for is_calm in (True, False, True, False):
            self.submit(is_calm=is_calm)
        self._start_brain()
        self.brain.eyes.settle()

    def close(self) -> None:
        """Nothing is left."""
        self.brain.close()
        self._patch.undo()

    def replace_brain(self) -> None:
        """A new process knows nothing of ends that it did not see: first what has ended is cleaned up."""
        self.operator.step()
        self.operator.step()
        self.brain.close()
        self._start_brain()
        self.troubles.append(self.clock.now)

    def _start_brain(self) -> None:
        self.brain = Brain(self.api, self.turns, self.clock, self.draw(f"brain at {self.clock.now}"))

    @property
    def is_able(self) -> bool:
        """Whether its controller can do what is to be done."""
        return self.brain.is_able and not self.api.faults.refusals

    def draw(self, what: str) -> Random:
        """Luck of its own for each purpose: what one does more or less does not change the others."""
        return Random(f"{self._seed} {what}")

    def _get(self, address: web.Address, *_: object, **__: object) -> web.Page:
        self.turns.go_some()
        return self.launchers.get(address.host)

    # -- jobs ----------------------------------------------------------------------------------------------------------
    def submit(self, *, is_calm: bool) -> None:
        """One more."""
        self._submitted += 1
        name = f"job-{self._submitted}"
        self.operator.submit(name, restart=RESTART, ttl="4000d")  # a verdict's time is this machine's
        self.truths[name] = Truth(is_calm)
        self.launchers.runs[name] = Run()

    def replace_ended(self) -> None:
        """Whoever owns a job that was given up tries another one, after a while."""
        for job in self.api.all("pytorchjobs"):
            if has_failed(job) and self.chance.random() < 0.2:
                name = job["metadata"]["name"]
                self.api.remove("pytorchjobs", NAMESPACE, name)
                del self.launchers.runs[name]
                self.submit(is_calm=self.truths.pop(name).is_calm)

    def victims(self, *, is_calm: bool | None = None) -> list[Object]:
        """Some job's pods that run, so that two of them are peers."""
        jobs = [name for name, truth in self.truths.items() if is_calm in {None, truth.is_calm}]
        up = self.up(self.chance.choice(jobs))
        self.chance.shuffle(up)
        return up

    def up(self, name: str) -> list[Object]:
        """Pods of the job that run, on nodes that are well."""
        nodes = self.api.all("nodes")
        well = {it["metadata"]["name"] for it in nodes if it["status"]["conditions"][0]["status"] == "True"}
        pods = self.api.pods(name)
        return [it for it in pods if is_up(it) and it["spec"]["nodeName"] in well]

    def break_down(self, ends: Iterable[tuple[Object, int]], *, is_charged: bool = False) -> str:
        """These containers of one gang end so, with a word by which this breakdown is known again."""
        mark = f"breakdown {self._breakdowns}"
        self._breakdowns += 1
        for pod, code in ends:
            truth = self.truth_of(pod)
            truth.ends.append(self.clock.now)
            if is_charged:
                truth.charges.setdefault(mark, self._charge(pod, code))
            self.gangs[mark] = {it["metadata"]["uid"] for it in self.api.pods(_job_of(pod))}
            self.operator.fail(pod["metadata"]["name"], code, message=mark)
        return mark

    def _charge(self, pod: Object, code: int) -> Charge:
        job = self.api.job(_job_of(pod))
        is_paused = job["spec"]["runPolicy"]["suspend"]
        return Charge(pod["metadata"]["uid"], self.clock.now, is_echo=code == Exit.PEER, is_paused=is_paused)

    def truth_of(self, pod: Object) -> Truth:
        """Of its job."""
        return self.truths[_job_of(pod)]


def _job_of(pod: Object) -> str:
    name: str = pod["metadata"]["labels"][JOB_NAME]
    return name


def has_failed(job: Object) -> bool:
    """Whether it was given up."""
    return any(it["type"] == "Failed" and it["status"] == "True" for it in job.get("status", {}).get("conditions", ()))
