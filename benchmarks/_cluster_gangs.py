"""What happens to gangs of a real cluster: their pods are made to fail, and it is noted when the gang runs again."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

import _cluster_jobs as jobs

from ktrain.cluster import POD, Cluster
from ktrain_controller.metrics import Metrics
from ktrain_controller.model import Job, Pod
from ktrain_controller.watches import Watches

Object = dict[str, Any]
EXIT_KILLED: Final = 137
AGAIN_SECONDS: Final = 2.0  # a gang was whole for so long before the pod that was replaced fails, too
PATIENCE_SECONDS: Final = 60.0


@dataclass(slots=True)
class Failure:
    """Of one pod. Times are Unix seconds of this machine, which the API server shares."""

    job: str
    index: int
    gone: frozenset[str]  # pods that will not be of the gang that runs again
    is_second: bool
    at: float = 0.0
    whole_at: float | None = None


class Gangs:
    """Watches the pods, as the controller does, from another process."""

    def __init__(self, cluster: Cluster, num_jobs: int) -> None:
        self._cluster, self._chance = cluster, Random(0)
        self._fresh = iter(self._chance.sample(range(num_jobs), num_jobs))
        self._waiting: dict[str, Failure] = {}
        self._watches = Watches.of(cluster, "", Metrics(), lambda *_args, **_fields: None, has_nodes=False)
        self._pods, self._jobs = self._watches.pods.store, self._watches.jobs.store
        self._pods.listen(self._hear)
        self.on_attempt: Callable[[], object] = lambda: None  # a job got its next one
        self._jobs.listen(self._hear_job)
        self._watches.start(threading.Event())

    @property
    def num_up(self) -> int:
        """Pods that run."""
        return sum(pod.is_up for pod in self._pods.all())

    def wait(self, num_up: int, seconds: float) -> None:
        """Until so many pods run, and no job pauses."""
        until = time.monotonic() + seconds
        while self.num_up < num_up or any(job.is_suspended for job in self._jobs.all()):
            if time.monotonic() > until:
                raise SystemExit(f"after {seconds:.0f} s {self.num_up} of {num_up} pods run")
            time.sleep(0.2)

    def fail(self, seconds: float, *, rate: float, again: int, is_led: bool = True) -> Sequence[Failure]:
        """So many jobs a second lose a pod; of every `again`-th one the pod that replaced it fails, too.

        While somebody leads all others are replaced then. A leader that comes too late finds the gang whole, and lets it be.
        """
        begun, made, first = time.time(), [], []
        while (passed := time.time() - begun) < seconds or (first and passed < seconds + PATIENCE_SECONDS):
            if passed < seconds and len(made) < passed * rate:
                made.append(self._break(jobs.key(next(self._fresh)), self._chance.randrange(jobs.PODS_PER_JOB)))
                first += made[-1:] if len(made) % again == 1 else []
            for one in [it for it in first if it.whole_at and it.whole_at < time.time() - AGAIN_SECONDS]:
                first.remove(one)
                made.append(self._break(one.job, one.index, is_second=True, is_led=is_led))
            time.sleep(0.01)
        return made

    def wait_for(self, failures: Sequence[Failure]) -> None:
        """Until all their gangs run again."""
        until = time.monotonic() + PATIENCE_SECONDS
        while any(it.whole_at is None for it in failures) and time.monotonic() < until:
            time.sleep(0.1)

    def _break(self, job: str, index: int, *, is_second: bool = False, is_led: bool = True) -> Failure:
        pods = self._pods.of(job)
        pod = next(it for it in pods if it.index == index)
        gone = frozenset(it.uid for it in pods) if is_second and is_led else frozenset({pod.uid})
        found = self._waiting[job] = Failure(job, index, gone, is_second, at=time.time())
        self._cluster.patch(POD, pod.namespace, pod.name, {"status": _failed()}, sub="status")
        return found

    def _hear(self, old: Pod | None, new: Pod | None) -> None:
        owner = (new or old).owner  # type: ignore[union-attr]
        waiting = self._waiting.get(owner)
        if waiting is None:
            return
        up = [pod.uid for pod in self._pods.of(owner) if pod.is_up]
        if len(up) == jobs.PODS_PER_JOB and not waiting.gone.intersection(up):
            waiting.whole_at = time.time()
            self._waiting.pop(owner, None)

    def _hear_job(self, old: Job | None, new: Job | None) -> None:
        if old and new and new.attempt > old.attempt:
            self.on_attempt()


def _failed() -> Object:
    """What a kubelet says when the kernel has killed the container."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ended = {"exitCode": EXIT_KILLED, "reason": "Error", "finishedAt": now, "startedAt": now}
    container = {
        "name": "pytorch",
        "image": "",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": ended},
    }
    ready = {"type": "Ready", "status": "False", "reason": "PodFailed", "lastTransitionTime": now}
    return {"phase": "Failed", "conditions": [ready], "containerStatuses": [container]}
