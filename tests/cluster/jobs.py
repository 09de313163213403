"""Jobs on the test cluster: submitted by the real command, disturbed by kubectl, read from the real bucket."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hack.cluster import s3
from hack.cluster.kubectl import kubectl
from hack.cluster.layout import S3
from ktrain.checkpoints.read import read_blocks, read_manifest
from ktrain.cluster import JOB, Cluster
from ktrain.errors import ClusterError
from ktrain.history import Head, current_run, read_head
from ktrain.jobs.find import find_pods, index
from ktrain.names import KEY_DONE, CliExit
from ktrain.storage import Storage, open_storage, scoped

NAMESPACE = "research"
COUNT = Path(__file__).parent / "count" / "job.yaml"
CRASH = Path(__file__).parent / "crash" / "job.yaml"
EXAMPLE = Path(__file__).parents[2] / "examples" / "shakespeare" / "job.yaml"
DEADLINE = 180
ELASTIC = "nodes={min: 1, max: 2}"
SHORT = ("trainer.duration=120step", "trainer.checkpoint.every=30step", "trainer.eval.every=60step")


def ktrain(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command line as a user types it."""
    return subprocess.run(
        [sys.executable, "-m", "ktrain", *args], cwd=cwd, capture_output=True, text=True, timeout=DEADLINE, check=False
    )


@cache
def admin() -> Cluster:
    """Who may do everything; polled in this process, which is much cheaper than kubectl."""
    return Cluster.connect()


@dataclass(frozen=True)
class Job:
    """One job of a test."""

    name: str
    image: str
    nodes: int | str = 2
    file: Path = EXAMPLE
    namespace: str = NAMESPACE

    @property
    def url(self) -> str:
        """Where its runs are."""
        return f"s3://{s3.BUCKET}/runs/{self.namespace}/{self.name}"

    def submit(self, *sets: str, flags: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """`ktrain submit` with what this cluster needs."""
        return self._with_file("submit", *sets, flags=flags)

    def diff(self, *sets: str) -> subprocess.CompletedProcess[str]:
        """`ktrain diff` against what was submitted."""
        return self._with_file("diff", *sets)

    def doctor(self, *sets: str) -> subprocess.CompletedProcess[str]:
        """`ktrain doctor` for the job."""
        return self._with_file("doctor", *sets)

    def settings(self, *sets: str) -> tuple[str, ...]:
        """What `--set` must say here."""
        return (
            f"metadata.name={self.name}", f"image={self.image}", f"nodes={self.nodes}", "procsPerNode=1",
            f"storage.url=s3://{s3.BUCKET}/runs", f"storage.endpoint={S3}", f"storage.secret={s3.SECRET}",
            "code={dir: .}", "resources={cpu: 200m, memory: 1Gi}", "preemption.grace=20s", *sets,
        )  # fmt: skip

    def _with_file(self, command: str, *sets: str, flags: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        words = (word for it in self.settings(*sets) for word in ("--set", it))
        return ktrain(command, str(self.file), "-n", self.namespace, *flags, *words)

    def uid(self) -> str:
        """Of the object in the cluster."""
        return str(admin().get(JOB, self.namespace, self.name)["metadata"]["uid"])

    def runs(self) -> Sequence[str]:
        """Folders below its URL."""
        with s3.keys_in_environment():
            return open_storage(self.url, endpoint=S3).folders()

    def state(self) -> str:
        """The operator's word for it."""
        conditions = admin().get(JOB, self.namespace, self.name).get("status", {}).get("conditions") or []
        return next((str(it["type"]) for it in reversed(conditions) if it["status"] == "True"), "")

    def wait(self, *states: str) -> str:
        """Until it is in one of these."""
        until(f"{self.name} {'or '.join(states)}", lambda: self.state() in states)
        return self.state()

    def pods(self) -> dict[int, dict[str, Any]]:
        """By index."""
        return {index(pod): pod for pod in find_pods(admin(), self.namespace, self.name)}

    def has_other_pods(self, uid: str) -> bool:
        """By one reading: pods, and that one is none of them."""
        now = {pod["metadata"]["uid"] for pod in self.pods().values()}
        return bool(now) and uid not in now

    def delete_pod(self, index: int, *, at_once: bool = False) -> None:
        """As a drain or a preemption does: SIGTERM, then the grace period; or SIGKILL at once. One that is gone is gone."""
        force = ("--grace-period=0", "--force") if at_once else ()
        kubectl(
            "-n",
            self.namespace,
            "delete",
            "pod",
            f"{self.name}-worker-{index}",
            "--wait=false",
            "--ignore-not-found",
            *force,
        )

    def end(self) -> None:
        """It is not needed any more; nobody waits for its pods."""
        kubectl("-n", self.namespace, "delete", "pytorchjob", self.name, "--wait=false")

    def told(self, index: int = 0) -> dict[str, Any]:
        """What the launcher of a pod says of itself; empty while it says nothing."""
        page = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}-worker-{index}:9400/proxy/status"
        try:
            return admin().raw(page)
        except ClusterError:
            return {}

    def rank0(self) -> dict[str, Any]:
        """Rank 0's last report."""
        return next((rank for rank in self.told().get("ranks", ()) if rank.get("rank") == 0), {})

    def kill_ranks(self, index: int, number: int = 9) -> None:
        """A signal, SIGKILL by default, to the ranks of a pod; its launcher stays."""
        code = (
            "import glob, os\n"
            "for path in glob.glob('/proc/[0-9]*/cmdline'):\n"
            "    if b'-m ktrain_' + b'trainer' in open(path, 'rb').read():\n"  # not this program itself, nor what they are forked from
            f"        os.kill(int(path.split('/')[2]), {number})"
        )
        kubectl("-n", self.namespace, "exec", f"{self.name}-worker-{index}", "--", "python", "-c", code)

    def storage(self) -> Storage:
        """Of its current run."""
        with s3.keys_in_environment():
            job = open_storage(self.url, endpoint=S3)
            run = current_run(job)
        assert run is not None
        return scoped(job, run)

    def head(self) -> Head | None:
        """Of its current run."""
        return read_head(self.storage())

    def step(self) -> int:
        """Of its newest commit."""
        head = self.head()
        return head.newest.step if head and head.newest else 0

    def is_done(self) -> bool:
        """Whether the run has its completion marker."""
        return self.storage().stat(KEY_DONE) is not None

    def logs(self, index: int) -> str:
        """Of a pod."""
        return kubectl("-n", self.namespace, "logs", f"{self.name}-worker-{index}", "--tail=-1")


def started(name: str, image: str, *sets: str, namespace: str = NAMESPACE) -> Job:
    """A counting job of one epoch, mostly asleep, that has saved once."""
    job = Job(name, image, file=COUNT, namespace=namespace)
    told = job.submit("trainer.eval.every=1000step", "trainer.duration=1ep", *sets)
    assert told.returncode == 0, told.stderr
    until("a commit", lambda: bool(job.rank0()) and job.step() > 0)
    return job


def counting(name: str, image: str, *sets: str) -> Job:
    """A counting job that trains."""
    job = Job(name, image, file=COUNT)
    told = job.submit("trainer.eval.every=1000step", *sets)
    assert told.returncode == CliExit.OK, told.stderr
    until("a step", lambda: int(job.rank0().get("step", 0)) > 0)
    return job


def until(what: str, is_so: Callable[[], bool], *, seconds: float = DEADLINE) -> None:
    """Polls the cluster."""
    begun = time.monotonic()
    end = begun + seconds
    while not is_so():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(max(0.2, time.monotonic() - begun))  # whoever looks takes half of a core at most
        begun = time.monotonic()


def visits(storage: Storage) -> set[float]:
    """How often the samples of the counting job were seen, by its final weights; one number when all were seen equally often."""
    head = read_head(storage)
    assert head is not None
    assert head.newest is not None
    manifest = read_manifest(storage, head.newest)
    weight = manifest.tensors["model.weight"]
    width = weight.shape[1]
    seen: set[float] = set()
    for chunk in weight.chunks:
        item = manifest.objects[chunk.object]
        values = read_blocks(storage, item, 0, item.size)[chunk.begin : chunk.end].cast("f").tolist()
        seen |= {-32 * value for value in values[0::width]}  # of each row only the first column is used
    return seen


def digest(storage: Storage, head: Head | None) -> Mapping[str, Any]:
    """Where the newest checkpoint's tensors are, and the checksums of all their bytes: equal when every bit is."""
    assert head is not None
    assert head.newest is not None
    manifest = json.loads(storage.get(head.newest.manifest)[0])
    return {"tensors": manifest["tensors"], "checksums": [it["checksums"] for it in manifest["objects"]]}
