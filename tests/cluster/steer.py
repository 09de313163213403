"""A namespace that a controller looks after: its flags, and what it has said and done there."""

import subprocess
from collections import Counter
from collections.abc import Mapping
from typing import Any

from hack.cluster import controller, s3
from hack.cluster.kubectl import apply, command, get, kubectl
from hack.cluster.layout import LOGS, S3
from ktrain.cluster import JOB
from ktrain.names import ANNOTATION_ATTEMPT, ANNOTATION_STATE
from ktrain.storage import open_storage
from ktrain_controller.state import State, read_state
from tests.cluster.jobs import Job, admin

STEERED = controller.SINGLE
HASTE = (
    "--node-seconds=8", "--silent-seconds=25", "--hang-margin-seconds=5", "--start-seconds=20", "--sample-seconds=1"
)  # fmt: skip


def in_haste() -> str:
    """What makes the chart's controllers less patient than those in earnest."""
    return f"--set=controller.extraArgs={{{','.join(HASTE)}}}"


def flags(namespace: str, *, nodes: bool = True) -> tuple[str, ...]:
    """Of a controller of this namespace, perhaps one that also knows nodes, and as impatient."""
    return (f"--namespace={namespace}", "--nodes" if nodes else "--no-nodes", *HASTE, f"--lease-name={namespace}")


def prepare(namespace: str = STEERED) -> None:
    """The namespace, empty, with keys for storage."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    s3.secret(namespace)
    kubectl("-n", namespace, "delete", "pytorchjobs", "--all", "--wait")
    with s3.keys_in_environment():  # runs of before would be resumed, by later attempts
        open_storage(f"s3://{s3.BUCKET}/runs", endpoint=S3).delete_folder(namespace)


def prepare_for_process(namespace: str) -> None:
    """The same, with the rights of a controller that runs beside the control plane."""
    prepare(namespace)
    controller.install(namespace=namespace)
    controller.look_at_nodes()


def log(name: str) -> str:
    path = LOGS / f"{name}.log"
    return path.read_text() if path.exists() else ""


def document(job: Job) -> dict[str, Any]:
    return admin().get(JOB, job.namespace, job.name)


def state(job: Job) -> State:
    return read_state(document(job)["metadata"]["annotations"].get(ANNOTATION_STATE, ""))


def attempt(job: Job) -> int:
    return int(document(job)["metadata"]["annotations"][ANNOTATION_ATTEMPT])


def attempts(job: Job) -> list[int]:
    """That its pods carry."""
    return [int(pod["metadata"]["annotations"][ANNOTATION_ATTEMPT]) for pod in job.pods().values()]


def reasons(job: Job) -> list[str]:
    return [it.reason for it in state(job).decisions]


def events(job: Job) -> Mapping[str, str]:
    """Its reasons, and what they say."""
    found = get("-n", job.namespace, "events")["items"]
    return {
        it["reason"]: it["message"]
        for it in found
        if it["involvedObject"]["name"] == job.name and it["source"].get("component") == "ktrain-controller"
    }


def uids(job: Job) -> set[str]:
    return {pod["metadata"]["uid"] for pod in job.pods().values()}


def deletions(job: Job) -> Counter[str]:
    """Of its pods, by uid, as the API server's audit log has them."""
    found: Counter[str] = Counter()
    for line in controller.audited():
        target = line.get("objectRef", {})
        is_pod = (
            line["verb"] == "delete" and target.get("resource") == "pods" and target.get("namespace") == job.namespace
        )
        if is_pod and target["name"].startswith(f"{job.name}-worker-") and line["responseStatus"]["code"] < 300:
            found[line["requestObject"]["preconditions"]["uid"]] += 1
    return found


def signal_launcher(job: Job, index: int, number: int) -> None:
    """SIGKILL: as the kernel does when a container has no memory left; SIGSTOP: as a wedged one behaves."""
    code = (
        "import glob, os\n"
        "for path in glob.glob('/proc/[0-9]*/cmdline'):\n"
        "    words = open(path, 'rb').read()\n"
        "    if words.endswith(b'-m\\0ktrain_' + b'launcher\\0') and b'tini' not in words:\n"
        f"        os.kill(int(path.split('/')[2]), {number})"
    )
    words = command("-n", job.namespace, "exec", f"{job.name}-worker-{index}", "--", "python", "-c", code)
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in {0, 137}, done.stderr  # its own process may go with the container
