"""Everything around a controller: the operator and the kubelets on a fake API server, its record, and replicas to kill.

with Ledger() as api, Operator(api) as operator:
    operator.add_nodes("node-0", "node-1")
    operator.submit("demo", nodes=2)
    first = Replica(api, tmp_path, "first")
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Self

from ktrain.names import ANNOTATION_ATTEMPT, ANNOTATION_STATE, LABEL_REPLICA_INDEX, MANAGED_BY
from ktrain.render import render
from ktrain.spec import TrainingJob
from ktrain_controller.failpoint import ENV, Point
from ktrain_controller.project import JOB_NAME
from ktrain_controller.state import State, read_state
from tests.controller.fake_api import FakeApi
from tests.controller.fake_http import Request
from tests.controller.fake_objects import Key, Object, RefusedError, Stored

NAMESPACE: Final = "research"
LEASE: Final = "ktrain-controller"
FLAGS: Final = (
    "--port=0", "--bind=127.0.0.1", "--node-seconds=1", "--silent-seconds=1", "--hang-margin-seconds=1",
    "--sample-seconds=1",
)  # fmt: skip
_PERMANENT: Final = 128  # exit codes below it are the job's end
_TRAINER: Final = {
    "duration": "10ep",
    "model": {"use": "m:Net"},
    "data": {"train": {"use": "m:Data"}},
    "batch": {"global": 64, "micro": 2},
    "optim": {"lr": 0.1},
}


def until(
    what: str, is_so: Callable[[], object], *, seconds: float = 20, tell: Callable[[], object] = lambda: ""
) -> None:
    """Waits for it; AssertionError, with its name and what `tell` says, when it does not come."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what} {tell()}"
        time.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Write:
    """A request that changed something, and the job that it is about, right after it."""

    method: str
    plural: str
    name: str
    uid: str
    sub: str
    job: Object | None

    @property
    def attempt(self) -> int:
        """That new pods of the job carry."""
        return attempt_of(self.job) if self.job else 0

    @property
    def state(self) -> State:
        """What the job's annotation says."""
        return state_of(self.job) if self.job else State()


class Ledger(FakeApi):
    """A server that writes down what it accepted: requests are what controllers do, all else is done by the test."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock)
        self.writes: list[Write] = []

    def _single(self, request: Request, plural: str, key: Key, sub: str) -> Stored:
        with self.objects.changed:
            stored = super()._single(request, plural, key, sub)
            if request.method != "GET" and plural != "leases":
                job = self._job_of(plural, stored)
                self.writes.append(Write(request.method, plural, stored.key[1], stored.uid, sub, job))
        return stored

    def _job_of(self, plural: str, stored: Stored) -> Object | None:
        name = stored.key[1] if plural == "pytorchjobs" else stored.labels.get(JOB_NAME, "")
        try:
            return self.get("pytorchjobs", stored.key[0], name)
        except RefusedError:
            return None

    def deletions(self) -> Counter[str]:
        """Of pods, by uid."""
        return Counter(it.uid for it in tuple(self.writes) if (it.method, it.plural) == ("DELETE", "pods"))

    def raises(self, name: str) -> list[int]:
        """Attempts that a controller gave the job, in order."""
        attempts = [1, *(it.attempt for it in tuple(self.writes) if (it.plural, it.name) == ("pytorchjobs", name))]
        return [new for old, new in pairwise(attempts) if new != old]

    def events(self, name: str) -> Counter[str]:
        """Reasons that were told of the job."""
        return Counter(it["reason"] for it in self.all("events") if it["involvedObject"]["name"] == name)

    def job(self, name: str) -> Object:
        """As it is."""
        return self.get("pytorchjobs", NAMESPACE, name)

    def pods(self, name: str) -> list[Object]:
        """Of the job, as they are."""
        return [it for it in self.all("pods") if it["metadata"]["labels"][JOB_NAME] == name]

    def give_lease(self, holder: str) -> None:
        """As if all others had waited for long enough."""
        spec = {"holderIdentity": holder, "leaseDurationSeconds": 15}
        self.put("leases", {"metadata": {"namespace": "default", "name": LEASE}, "spec": spec})


class Operator:
    """Makes, starts and takes away pods: a step at a time, or on and on inside a `with`."""

    def __init__(self, api: FakeApi, *, ip: str = "") -> None:
        self._api, self._ip = api, ip
        self.told: set[str] = set()  # uids of pods that somebody wanted gone
        self.places: dict[str, str] = {}  # pods that were started, by uid → node
        self.stuck: set[str] = set()  # names of pods that no node takes
        self._leaving: set[str] = set()  # uids that were there for the last step, and have been told to go
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def add_nodes(self, *names: str) -> None:
        """That are well."""
        for name in names:
            self.set_node(name, is_ready=True)

    def set_node(self, name: str, *, is_ready: bool, taints: Iterable[str] = (), since: float | None = None) -> None:
        """Makes it so, by default from now on."""
        ready = {"type": "Ready", "status": "True" if is_ready else "Unknown", "lastTransitionTime": self._time(since)}
        spec = {"taints": [{"key": key, "effect": "NoSchedule"} for key in taints]}
        self._api.put("nodes", {"metadata": {"name": name}, "spec": spec, "status": {"conditions": [ready]}})

    def submit(self, name: str, *, state: State | None = None, **spec: Any) -> None:
        """As `ktrain submit` does."""
        head = {"name": name, "namespace": NAMESPACE}
        body = {"image": "registry.example/worker:1", "nodes": 2, "trainer": _TRAINER, **spec}
        _, job = render(TrainingJob.model_validate({"metadata": head, "spec": body}))
        if state:
            job["metadata"]["annotations"][ANNOTATION_STATE] = state.encode()
        self._api.put("pytorchjobs", job)

    def fail(self, pod: str, code: int, *, at: float | None = None, reason: str = "Error", message: str = "") -> None:
        """Its container ends so."""
        ended = {"exitCode": code, "reason": reason, "message": message, "finishedAt": self._time(at)}
        status = {"phase": "Failed", "containerStatuses": [{"state": {"terminated": ended}}]}
        self._api.put("pods", {"metadata": {"namespace": NAMESPACE, "name": pod}, "status": status})

    def delete(self, pod: str) -> None:
        """Somebody else wants it gone, with its grace period."""
        self.told.add(self._api.objects.delete("pods", (NAMESPACE, pod), uid=None, version=None, grace=None).uid)

    def step(self) -> None:
        """What happens next, for each job at one moment: a real operator's cache is never so fresh."""
        for job in self._api.all("pytorchjobs"):
            with self._api.objects.changed:
                self._tend(job["metadata"]["name"])
        self._forget_orphans()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            self.step()

    def _time(self, at: float | None = None) -> str:
        return datetime.fromtimestamp(self._api.clock() if at is None else at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    # -- the operator --------------------------------------------------------------------------------------------------
    def _tend(self, name: str) -> None:
        try:
            job = self._api.get("pytorchjobs", NAMESPACE, name)
        except RefusedError:  # it was deleted a moment ago
            return
        pods = self._of(name)
        for pod in pods.values():
            self._see_to(pod)
        if _has_ended(job) or job["spec"]["runPolicy"]["suspend"]:
            self._clear(job)
        elif any(0 < _code(pod) < _PERMANENT for pod in pods.values()):
            self._report(job, "Failed")
        else:
            self._fill(job)

    def _of(self, name: str) -> dict[int, Object]:
        """By replica."""
        mine = self._api.objects.all("pods", NAMESPACE, {JOB_NAME: name})
        return {int(it.labels[LABEL_REPLICA_INDEX]): json.loads(it.data) for it in mine}

    def _clear(self, job: Object) -> None:
        for pod in self._of(job["metadata"]["name"]).values():
            if pod["status"]["phase"] in {"Pending", "Running"} and "deletionTimestamp" not in pod["metadata"]:
                self.delete(pod["metadata"]["name"])
        if not _has_ended(job):
            self._report(job, "Suspended")

    def _fill(self, job: Object) -> None:
        worker, name = job["spec"]["pytorchReplicaSpecs"]["Worker"], job["metadata"]["name"]
        pods = self._of(name)
        for index in sorted(set(range(worker["replicas"])) - set(pods)):
            self._make(name, index, worker["template"])
        for index in sorted(set(pods) - set(range(worker["replicas"]))):
            if "deletionTimestamp" not in pods[index]["metadata"]:
                self.delete(pods[index]["metadata"]["name"])
        self._report(job, "Running")

    def _make(self, name: str, index: int, template: Object) -> None:
        meta = template["metadata"]
        labels = {**meta["labels"], JOB_NAME: name, LABEL_REPLICA_INDEX: str(index)}
        assert labels[MANAGED_BY] == "ktrain"
        head = {"namespace": NAMESPACE, "name": f"{name}-worker-{index}", "labels": labels}
        pod = {"metadata": {**head, "annotations": dict(meta["annotations"])}, "spec": template["spec"]}
        self._api.load("pods", [{**pod, "status": {"phase": "Pending"}}])

    def _report(self, job: Object, phase: str) -> None:
        """Changes nothing when that is known."""
        old = [it for it in job.get("status", {}).get("conditions", ()) if it["status"] == "True"]
        if old and old[-1]["type"] == phase:
            return
        now = self._time()
        conditions = [{"type": phase, "status": "True", "lastTransitionTime": now}]
        head = {"namespace": NAMESPACE, "name": job["metadata"]["name"]}
        self._api.put("pytorchjobs", {"metadata": head, "status": {"conditions": conditions, "startTime": now}})

    # -- the kubelets --------------------------------------------------------------------------------------------------
    def _see_to(self, pod: Object) -> None:
        meta, phase = pod["metadata"], pod["status"]["phase"]
        where = pod["spec"].get("nodeName")
        if phase == "Pending" and not where and "deletionTimestamp" not in meta:
            self._start(pod)
        elif phase == "Failed" and _code(pod) >= _PERMANENT:
            self._take(meta)  # restartPolicy ExitCode: the operator's way of trying again
        elif "deletionTimestamp" in meta and (not where or where in self._nodes()):
            self._take(meta)

    def _start(self, pod: Object) -> None:
        nodes, meta = self._nodes(), pod["metadata"]
        if not nodes or meta["name"] in self.stuck:
            return
        place = self.places[meta["uid"]] = nodes[int(meta["labels"][LABEL_REPLICA_INDEX]) % len(nodes)]
        status = {"phase": "Running", "startTime": self._time(), "podIP": self._address(meta["uid"])}
        head = {"namespace": NAMESPACE, "name": meta["name"]}
        self._api.put("pods", {"metadata": head, "spec": {"nodeName": place}, "status": status})

    def _address(self, uid: str) -> str:
        """Where the pod is to be reached."""
        return self._ip

    def _take(self, meta: Object) -> None:
        """A step later: whoever watches has seen it by then."""
        if meta["uid"] in self._leaving:
            self._leaving.remove(meta["uid"])
            self._api.remove("pods", NAMESPACE, meta["name"])
        else:
            self._leaving.add(meta["uid"])

    def _nodes(self) -> list[str]:
        """Those that are well."""
        return [it["metadata"]["name"] for it in self._api.all("nodes") if _is_ready(it)]

    def _forget_orphans(self) -> None:
        """The garbage collector."""
        with self._api.objects.changed:
            jobs = {it.key[1] for it in self._api.objects.all("pytorchjobs")}
            for pod in self._api.objects.all("pods"):
                if pod.labels.get(JOB_NAME) not in jobs:
                    self._api.objects.remove("pods", pod.key)


class Replica:
    """A controller's process; `point` is where it dies."""

    def __init__(self, api: FakeApi, folder: Path, identity: str, *flags: str, point: Point | None = None) -> None:
        config = folder / "kubeconfig"
        config.write_text(api.kubeconfig, encoding="utf-8")
        self._log = folder / f"{identity}.log"
        environment = {**os.environ, "KUBECONFIG": str(config), **({ENV: point.value} if point else {})}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ktrain_controller", f"--identity={identity}", *FLAGS, *flags],
                env=environment, stdout=log, stderr=log,
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert "event=bug" not in self.log, self.log

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text(encoding="utf-8")

    @property
    def is_synced(self) -> bool:
        """Whether its first lists are here."""
        return "event=synced" in self.log

    @property
    def leads(self) -> bool:
        """Whether it has begun to."""
        return "event=leads " in self.log

    @property
    def port(self) -> int:
        """Of its pages, once it serves."""
        return int(self.log.partition("event=serving port=")[2].split()[0])

    @property
    def ending(self) -> int | None:
        """None while it lives; the signal, negative, that ended it."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Such as SIGKILL, SIGSTOP, SIGCONT."""
        self._process.send_signal(number)


def attempt_of(job: Object) -> int:
    """That new pods carry."""
    return int(job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["metadata"]["annotations"][ANNOTATION_ATTEMPT])


def state_of(job: Object) -> State:
    """What its annotation says."""
    return read_state(job["metadata"]["annotations"].get(ANNOTATION_STATE, ""))


def _has_ended(job: Object) -> bool:
    return any(
        it["type"] in {"Failed", "Succeeded"} and it["status"] == "True"
        for it in job.get("status", {}).get("conditions", ())
    )


def _code(pod: Object) -> int:
    """Of its end, 0 while there is none."""
    ends = (it["state"].get("terminated") for it in pod["status"].get("containerStatuses", ()))
    return next((int(it["exitCode"]) for it in ends if it), 0)


def _is_ready(node: Object) -> bool:
    return any(it["type"] == "Ready" and it["status"] == "True" for it in node["status"]["conditions"])
