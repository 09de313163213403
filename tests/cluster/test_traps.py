"""The operator's traps that `render` avoids, each shown on the real operator: were one gone, its rule could go too.

Not shown: an empty `elasticPolicy.rdzvConf` (it panics the operator that all tests share), and gang scheduling fields
(they need another scheduler). That pods of a dead node are never taken away is shown in test_faults.py.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from hack.cluster.kubectl import apply, get, kubectl
from hack.cluster.shell import NeedError
from tests.cluster.jobs import NAMESPACE, until

pytestmark = pytest.mark.slow
TRAPS: Final = "traps"
Object = dict[str, Any]

SLEEP: Final = "import time; time.sleep(600)"
FIRST_LEAVES: Final = "import os, time; time.sleep(0 if os.environ['INDEX'] == '0' else 600)"
FIRST_FAILS: Final = "import os, sys, time; sys.exit(3) if os.environ['INDEX'] == '0' else time.sleep(600)"
POLITE: Final = (
    "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(0)); print('polite', flush=True); time.sleep(600)"
)


def job(name: str, code: str, *, workers: int = 1, policy: Object | None = None, spec: Object | None = None,
        container: Object | None = None, namespace: str = TRAPS, restart: str = "ExitCode") -> Object:  # fmt: skip
    index = {"fieldRef": {"fieldPath": "metadata.labels['training.kubeflow.org/replica-index']"}}
    made = {
        "name": "pytorch", "image": IMAGE[0], "command": ["python", "-c", code], "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "INDEX", "valueFrom": index}], **(container or {}),
    }  # fmt: skip
    template = {"spec": {"terminationGracePeriodSeconds": 5, "containers": [made]}}
    replicas = {"Worker": {"replicas": workers, "restartPolicy": restart, "template": template}}
    return {
        "apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": {"name": name, "namespace": namespace},
        "spec": {"pytorchReplicaSpecs": replicas, "nprocPerNode": "1", "runPolicy": policy or {}, **(spec or {})},
    }  # fmt: skip


IMAGE: Final[list[str]] = [""]


@pytest.fixture(scope="module")
def begun(cluster: str) -> Mapping[str, float]:
    """All traps are set at once; when."""
    IMAGE[0] = cluster
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TRAPS, "labels": labels}})
    kubectl("-n", TRAPS, "delete", "pytorchjobs", "--all", "--wait")
    master = job("master", SLEEP, namespace=NAMESPACE)
    master["spec"]["pytorchReplicaSpecs"]["Master"] = {"replicas": 1, **master["spec"]["pytorchReplicaSpecs"]["Worker"]}
    unready = {"readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1}}
    made = (
        master,
        job("elastic", FIRST_LEAVES, workers=2, spec={"elasticPolicy": {"minReplicas": 1, "maxReplicas": 2}}),
        job("alone", "print()", spec={"elasticPolicy": {"standalone": True}}),
        job("unclean", FIRST_FAILS, workers=2, policy={"cleanPodPolicy": "None"}),
        job("polite", POLITE),
        job("late", SLEEP, policy={"activeDeadlineSeconds": 20}),
        job("endless", "import sys; sys.exit(200)", policy={"backoffLimit": 1}),
        job("kept", "import sys; sys.exit(3)", policy={"ttlSecondsAfterFinished": 1}),
        job("unready", SLEEP, container=unready),
        job("n" * 58, SLEEP),
        job("typo", SLEEP, policy={"cleanPodPolicy": "Runing"}),
    )
    for each in made:
        kubectl("create", "-f", "-", stdin=json.dumps(each))
    return {each["metadata"]["name"]: time.monotonic() for each in made}


def condition(name: str, namespace: str = TRAPS) -> str:
    found = get("-n", namespace, "pytorchjob", name).get("status", {}).get("conditions") or []
    return next((str(it["type"]) for it in reversed(found) if it["status"] == "True"), "")


def pod(name: str) -> Object:
    try:
        found: Object = get("-n", TRAPS, "pod", f"{name}-worker-0")
    except NeedError:
        return {}
    return found


def phase(name: str) -> str:
    return str(pod(name).get("status", {}).get("phase"))


def events(namespace: str, name: str) -> str:
    found = get("-n", namespace, "events")["items"]
    return "\n".join(f"{it['reason']} {it['message']}" for it in found if it["involvedObject"]["name"].startswith(name))


def holds(seconds: float, is_so: Callable[[], bool], since: float) -> bool:
    """Whether it is still so that long after `since`."""
    until("the time has passed", lambda: time.monotonic() > since + seconds)
    return is_so()


def _told(text: str) -> set[str]:
    return {it for it in ("violates PodSecurity", "init-pytorch") if it in text}


def test_a_master_gives_workers_an_init_container_that_restricted_namespaces_refuse(begun: Mapping[str, float]) -> None:
    # The master's own pod is refused too, for other reasons, and may be told first.
    until("refused", lambda: {"violates PodSecurity", "init-pytorch"} <= _told(events(NAMESPACE, "master")))
    kubectl("-n", NAMESPACE, "delete", "pytorchjob", "master", "--wait=false")


def test_with_an_elastic_policy_one_success_ends_the_job(begun: Mapping[str, float]) -> None:
    until("succeeded", lambda: condition("elastic") == "Succeeded")
    other = get("-n", TRAPS, "pod", "elastic-worker-1")["status"]["phase"]
    assert other in {"Running", "Pending"}


def test_standalone_is_an_empty_text_that_torchrun_cannot_read(begun: Mapping[str, float]) -> None:
    until("a pod", lambda: bool(pod("alone")))
    env = {it["name"]: it.get("value", "") for it in pod("alone")["spec"]["containers"][0]["env"]}
    assert env["PET_STANDALONE"] == ""


def test_without_a_clean_pod_policy_a_failed_job_keeps_its_pods(begun: Mapping[str, float]) -> None:
    until("failed", lambda: condition("unclean") == "Failed")
    since = time.monotonic()
    assert holds(3, lambda: get("-n", TRAPS, "pod", "unclean-worker-1")["status"]["phase"] != "Failed", since)


def test_a_preempted_pod_that_exits_with_0_completes_the_job(begun: Mapping[str, float]) -> None:
    until("running", lambda: phase("polite") == "Running")
    until("its handler is there", lambda: "polite" in kubectl("-n", TRAPS, "logs", "polite-worker-0"))
    kubectl("-n", TRAPS, "delete", "pod", "polite-worker-0", "--wait=false")
    until("succeeded, though it was only preempted", lambda: condition("polite") == "Succeeded")


def test_a_deadline_is_not_kept_on_a_quiet_job(begun: Mapping[str, float]) -> None:
    until("running", lambda: phase("late") == "Running")
    assert holds(35, lambda: condition("late") == "Running", begun["late"])


def test_an_exit_code_above_127_is_tried_again_without_end(begun: Mapping[str, float]) -> None:
    seen: set[str] = set()
    until("the fourth pod of a job with backoffLimit 1", lambda: len(seen | _uids(seen, "endless")) >= 4)
    assert condition("endless") != "Failed"
    kubectl("-n", TRAPS, "delete", "pytorchjob", "endless", "--wait=false")


def _uids(seen: set[str], name: str) -> set[str]:
    if found := pod(name):
        seen.add(found["metadata"]["uid"])
    return seen


def test_a_ttl_is_not_kept_after_a_failure_by_exit_code(begun: Mapping[str, float]) -> None:
    until("failed", lambda: condition("kept") == "Failed")
    assert "completionTime" not in get("-n", TRAPS, "pytorchjob", "kept")["status"]
    assert holds(5, lambda: condition("kept") == "Failed", time.monotonic())


def test_a_pod_that_is_not_ready_has_no_name(begun: Mapping[str, float]) -> None:
    until("running", lambda: phase("unready") == "Running")
    code = "import socket, sys\ntry: socket.getaddrinfo(sys.argv[1], 1)\nexcept OSError as error: print(error)"
    exec_in = ("-n", TRAPS, "exec", "typo-worker-0", "--", "python", "-c", code)
    until("the other pod runs", lambda: phase("typo") == "Running")
    assert "name" in kubectl(*exec_in, "unready-worker-0").lower()  # … not known, or Temporary failure in … resolution
    assert kubectl(*exec_in, "typo-worker-0") == ""


def test_a_long_name_is_taken_and_never_becomes_a_pod_that_can_be_found(begun: Mapping[str, float]) -> None:
    name = "n" * 58
    until("refused", lambda: "must be no more than 63" in events(TRAPS, name))


def test_a_typo_in_the_clean_pod_policy_is_taken(begun: Mapping[str, float]) -> None:
    assert get("-n", TRAPS, "pytorchjob", "typo")["spec"]["runPolicy"]["cleanPodPolicy"] == "Runing"


def test_a_number_as_processes_per_node_is_refused(begun: Mapping[str, float]) -> None:
    with pytest.raises(NeedError, match="nprocPerNode"):
        kubectl("create", "-f", "-", stdin=json.dumps(job("number", SLEEP, spec={"nprocPerNode": 1})))


def test_pods_stay_five_minutes_on_a_lost_node_unless_told_otherwise(begun: Mapping[str, float]) -> None:
    until("a pod", lambda: bool(pod("late")))
    seconds = {it["key"]: it.get("tolerationSeconds") for it in pod("late")["spec"]["tolerations"]}
    assert seconds["node.kubernetes.io/unreachable"] == 300


def test_the_traps_are_taken_away(begun: Mapping[str, float]) -> None:
    kubectl("delete", "namespace", TRAPS, "--wait=false")
