"""kwok plays nodes: they are said to be there, and pods on them to run, and nothing of it is started."""

from pathlib import Path
from typing import Any, Final

import yaml

from hack.cluster import daemons, program
from hack.cluster.kubectl import apply, get
from hack.cluster.layout import ADMIN, CONTROL, HERE, KWOK, RUN
from hack.cluster.shell import wait

Object = dict[str, Any]
MODULE: Final = "sigs.k8s.io/kwok"
LABEL: Final = {"type": "kwok"}
LEASE_SECONDS: Final = 40
PODS_PER_NODE: Final = 110
STARTS_MILLISECONDS: Final = 1000  # a pod; at once, a gang would be whole again before anybody could look at it
_STAGES: Final = ("node/fast/node-initialize", "node/heartbeat-with-lease/node-heartbeat-with-lease", "pod/fast/pod-ready",
                  "pod/fast/pod-delete")  # fmt: skip
_ROOM: Final = {"cpu": "1k", "memory": "16Ti", "nvidia.com/gpu": str(PODS_PER_NODE), "pods": str(PODS_PER_NODE)}
_SIDE_BY_SIDE: Final = 16
_GO: Final = HERE / "go" / KWOK


def ensure() -> Path:
    """The program (a minute or two the first time)."""
    return program.built(f"{MODULE}/cmd/kwok", module=_GO)


def start(num_nodes: int) -> None:
    """It, and its nodes; returns when they are ready."""
    config = RUN / "kwok.yaml"
    config.write_text(yaml.safe_dump_all([_options(), *_stages()]))
    daemons.start(
        KWOK,
        CONTROL,
        ensure(),
        f"--kubeconfig={ADMIN}",
        f"--config={config}",
        "--manage-nodes-with-label-selector=type=kwok",
    )
    apply(*(_node(number) for number in range(num_nodes)))
    wait("every node of kwok's", lambda: _num_ready() == num_nodes, seconds=90)


def _options() -> Object:
    options = {
        "cidr": "127.64.0.0/10",  # loopback, where nobody listens: whoever asks such a pod is refused at once
        "manageNodesWithAnnotationSelector": "",
        "nodeLeaseDurationSeconds": LEASE_SECONDS,
        "nodeLeaseParallelism": _SIDE_BY_SIDE, "nodePlayStageParallelism": _SIDE_BY_SIDE, "podPlayStageParallelism": _SIDE_BY_SIDE,
    }  # fmt: skip
    return {"apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokConfiguration", "options": options}


def _stages() -> list[Object]:
    folder = program.sources(MODULE, module=_GO) / "kustomize" / "stage"
    stages = [yaml.safe_load((folder / f"{name}.yaml").read_text()) for name in _STAGES]
    for stage in (it for it in stages if it["metadata"]["name"] == "pod-ready"):
        stage["spec"]["delay"] = {"durationMilliseconds": STARTS_MILLISECONDS}
    return stages


def _node(number: int) -> Object:
    meta = {"name": f"kwok-{number:03}", "labels": {**LABEL, "kubernetes.io/hostname": f"kwok-{number:03}"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "status": {"capacity": _ROOM, "allocatable": _ROOM}}


def _num_ready() -> int:
    conditions = [it for node in get("nodes")["items"] for it in node.get("status", {}).get("conditions", [])]
    return sum(1 for it in conditions if it["type"] == "Ready" and it["status"] == "True")
