"""The peers of the controller's benchmark: `python _controller_peers.py kopf|informer JOBS PODS NODES`.

Each keeps what the controller keeps of jobs, pods and nodes, prints one line when it is imported and another one when
all of that is there, and stays.
"""

import asyncio
import importlib
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

LABEL: Final = "app.kubernetes.io/managed-by"
PAGE: Final = 500
TENTHS: Final = 10
TEAM: Final = "team-3"
IDLE_SECONDS: Final = 0.5


class Count:
    """Says so when everything has been seen."""

    def __init__(self, expected: int) -> None:
        self._left = expected

    def seen(self, _key: object = None) -> None:
        """One more."""
        self._left -= 1
        if not self._left:
            print("synced", flush=True)


def with_kopf(jobs: int, pods: int, nodes: int) -> None:
    """An operator that hears of every object, at its best: lists in chunks, the server's selectors, idle tasks end.

    Not with its indices: each object that is indexed wakes all those before it, so that 2,000 take 20 seconds, and 62,000
    would take hours.
    """
    sys.modules["kubernetes"] = None  # type: ignore[assignment]  # kopf would import it, for nothing, in a second
    kopf = importlib.import_module("kopf")
    print("imported", flush=True)
    count = Count(jobs + pods + nodes)

    @kopf.on.startup()
    def configure(settings: Any, **_: Any) -> None:
        settings.watching.chunk_size = PAGE
        settings.watching.label_selectors["pods"] = f"{LABEL}=ktrain"
        settings.watching.label_selectors["pytorchjobs"] = f"{LABEL}=ktrain"
        settings.queueing.idle_timeout = IDLE_SECONDS
        settings.posting.enabled = False
        settings.scanning.disabled = True

    @kopf.on.login()
    def login(**options: Any) -> Any:
        return kopf.login_with_kubeconfig(**options)

    def keep(kind: str, project: Callable[[Any], Any]) -> None:
        kept: dict[tuple[str, str], Any] = {}

        @kopf.on.event(kind, id=kind)
        async def hear(type: str | None, body: Any, **_: Any) -> None:  # noqa: A002  -- kopf's name
            key = (body["metadata"].get("namespace", ""), body["metadata"]["name"])
            if type == "DELETED":
                kept.pop(key, None)
            else:
                kept[key] = project(body)
            count.seen()

    keep("pytorchjobs", job_of)
    keep("pods", pod_of)
    keep("nodes", node_of)
    asyncio.run(kopf.operator(standalone=True, clusterwide=True))


def with_informer(jobs: int, pods: int, nodes: int) -> None:
    """The official client's SharedInformers, with its models where it has some, over a tenth of the cluster: one team's."""
    from kubernetes import client, config
    from kubernetes.informer import SharedInformer

    config.load_kube_config()
    core, custom = client.CoreV1Api(), client.CustomObjectsApi()
    print("imported", flush=True)
    count = Count((jobs + pods + nodes) // TENTHS)
    informers = [
        SharedInformer(core.list_namespaced_pod, namespace=TEAM, label_selector=f"{LABEL}=ktrain"),
        SharedInformer(core.list_node, label_selector=f"team={TEAM}"),
    ]
    for each in informers:
        each.add_event_handler("ADDED", count.seen)
        each.start()
    # Not by a SharedInformer: it takes an answer's attribute `items`, and these answers are dictionaries.
    found = custom.list_namespaced_custom_object(
        "kubeflow.org", "v1", TEAM, "pytorchjobs", label_selector=f"{LABEL}=ktrain"
    )
    for each in found["items"]:
        count.seen(each)
    threading.Event().wait()


def job_of(body: Any) -> tuple[Any, ...]:
    """ktrain_controller.model.Job's fields."""
    meta, spec, status = body["metadata"], body["spec"], body.get("status", {})
    notes = meta.get("annotations", {})
    worker = spec["pytorchReplicaSpecs"]["Worker"]
    return (
        meta["uid"], meta["resourceVersion"], meta["creationTimestamp"], notes.get("ktrain.dev/attempt"),
        worker["replicas"], spec["runPolicy"].get("suspend"), notes.get("ktrain.dev/policy"),
        notes.get("ktrain.dev/state"), status.get("conditions", [{}])[-1].get("type"), status.get("startTime"),
    )  # fmt: skip


def pod_of(body: Any) -> tuple[Any, ...]:
    """ktrain_controller.model.Pod's fields."""
    meta, spec, status = body["metadata"], body["spec"], body["status"]
    labels = meta["labels"]
    return (
        meta["uid"], meta["resourceVersion"], labels["ktrain.dev/job"], labels["training.kubeflow.org/replica-index"],
        meta["annotations"]["ktrain.dev/attempt"], status["phase"], meta["creationTimestamp"], spec.get("nodeName"),
        status.get("podIP"), status.get("startTime"), meta.get("deletionTimestamp"), status.get("reason"),
        str(status.get("containerStatuses", [{}])[0].get("state", {}).get("terminated") or ""),
    )  # fmt: skip


def node_of(body: Any) -> tuple[Any, ...]:
    """ktrain_controller.model.Node's fields."""
    ready = next(it for it in body["status"]["conditions"] if it["type"] == "Ready")
    return body["metadata"]["resourceVersion"], ready["status"], ready["lastTransitionTime"]


if __name__ == "__main__":
    name, *numbers = sys.argv[1:]
    {"kopf": with_kopf, "informer": with_informer}[name](*map(int, numbers))
