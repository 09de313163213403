"""What happens in a large cluster: pods report, some fail, the operator replaces them; at a given rate of events."""

import heapq
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from typing import Any, Final

import _controller_objects as objects

from ktrain import names
from tests.controller.fake_api import FakeApi
from tests.controller.fake_objects import RefusedError

Object = dict[str, Any]
AGAIN: Final = 40  # every so many failures there is a job that fails again, and whose gang is restarted
AGAIN_SECONDS: Final = 5.0
REPLACED_SECONDS: Final = 1.0  # by the operator; a pod that was deleted needs as long to end
STARTS_SECONDS: Final = 1.0
EXIT_STORAGE: Final = 201


class Fleet:
    """Operator and kubelets of one cluster. Each failure has a mark, which its decision repeats."""

    def __init__(self, api: FakeApi, num_jobs: int, num_nodes: int) -> None:
        self._api, self._num_jobs, self._num_nodes = api, num_jobs, num_nodes
        self._chance = Random(0)
        self._plans: list[tuple[float, int, Callable[[], object]]] = []
        self._lock = threading.Lock()
        self._number = itertools.count()
        order = self._chance.sample(range(num_jobs), num_jobs)
        self._single = (it for it in order if it % objects.QUEUED)
        self._queued = (it for it in order if not it % objects.QUEUED)
        self.failed: dict[str, float] = {}  # mark → when that was written

    def load(self) -> None:
        """Everything runs, for an hour now."""
        at = time.time() - 3600
        jobs = [objects.job(number, at) for number in range(self._num_jobs)]
        self._api.load("nodes", (objects.node(number, at) for number in range(self._num_nodes)))
        self._api.load("pytorchjobs", jobs)
        self._api.load("pods", self._all_pods(jobs, at))

    def run(self, seconds: float, *, rate: float, failures: float, again: int) -> int:
        """So many events, and of them failures, per second, and of these again; says how many events there were."""
        begun, done, broken = time.monotonic(), 0, 0
        while (passed := time.monotonic() - begun) < seconds:
            while done < passed * rate:
                if broken < passed * failures:
                    self._break_one(is_again=not broken % again)
                    broken += 1
                elif not self._do_plan():
                    self._report()
                done += 1
            time.sleep(0.002)
        return done

    def deleted(self, pod: Object) -> None:
        """Somebody has asked for that; the kubelet ends it, and the operator makes another one."""
        self._plan(REPLACED_SECONDS, lambda: self._replace(pod["metadata"]))

    def _all_pods(self, jobs: list[Object], at: float) -> Iterator[Object]:
        for number, job in enumerate(jobs):
            yield from objects.pods(job, number, self._num_nodes, at)

    # -- what happens --------------------------------------------------------------------------------------------------
    def _report(self) -> None:
        """A kubelet says of a pod that nothing is new."""
        number, index = self._chance.randrange(self._num_jobs), self._chance.randrange(objects.PODS_PER_JOB)
        change = {"status": {"conditions": objects.conditions(time.time(), is_up=True)}}
        self._patch((objects.team(number), _pod_name(number, index)), change)

    def _break_one(self, *, is_again: bool) -> None:
        number = next(self._queued if is_again else self._single, None)
        if number is None:
            raise SystemExit("more failures than jobs; make the run shorter")
        index = self._chance.randrange(objects.PODS_PER_JOB)
        self._fail(number, index)
        if is_again:
            self._plan(AGAIN_SECONDS, lambda: self._fail(number, index))

    def _fail(self, number: int, index: int) -> None:
        key = (objects.team(number), _pod_name(number, index))
        mark = f"<incident {next(self._number)}>"
        said = {"cause": "storage", "message": f"{mark} a part was not taken", "rank": index, "checkpoint": 1100}
        place = number * objects.PODS_PER_JOB + index
        told = objects.status("Failed", place, time.time(), exit_code=EXIT_STORAGE, message=json.dumps(said))
        self.failed[mark] = time.monotonic()
        self._patch(key, {"status": told})
        self._plan(REPLACED_SECONDS, lambda: self._replace({"namespace": key[0], "name": key[1]}))

    def _replace(self, meta: Object) -> None:
        namespace, name = meta["namespace"], meta["name"]
        with suppress(RefusedError):  # it went for two reasons at once
            if meta.get("uid", "") in {"", self._api.get("pods", namespace, name)["metadata"]["uid"]}:
                self._api.remove("pods", namespace, name)
                self._make(namespace, name)

    def _make(self, namespace: str, name: str) -> None:
        owner_name, _, index = name.rpartition("-worker-")
        owner = self._api.get("pytorchjobs", namespace, owner_name)
        place = int(owner_name.rpartition("-")[2]) * objects.PODS_PER_JOB + int(index)
        new = objects.pod(owner, int(index), place % self._num_nodes, place, time.time())
        new["metadata"]["annotations"] = {names.ANNOTATION_ATTEMPT: _attempt(owner)}
        self._api.load("pods", [new])
        up = {"status": objects.status("Running", place, time.time())}
        self._plan(STARTS_SECONDS, lambda: self._patch((namespace, name), up))

    def _patch(self, key: tuple[str, str], change: Object) -> None:
        with suppress(RefusedError):  # between its end and its successor
            self._api.objects.patch("pods", key, change, is_whole=True)

    # -- what is to happen ---------------------------------------------------------------------------------------------
    def _plan(self, seconds: float, what: Callable[[], object]) -> None:
        with self._lock:
            heapq.heappush(self._plans, (time.monotonic() + seconds, next(self._number), what))

    def _do_plan(self) -> bool:
        with self._lock:
            if not self._plans or self._plans[0][0] > time.monotonic():
                return False
            _, _, what = heapq.heappop(self._plans)
        what()
        return True


def _pod_name(number: int, index: int) -> str:
    return f"llm-{number:05}-worker-{index}"


def _attempt(owner: Object) -> str:
    template = owner["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]
    return str(template["metadata"]["annotations"][names.ANNOTATION_ATTEMPT])
