"""Asks the launchers of a running job something, by an annotation of their pods, and waits for their answers."""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from ktrain.cluster import POD, Cluster
from ktrain.errors import ClusterError, ForbiddenError, NotFound, StorageError, TimedOutError
from ktrain.jobs.find import index
from ktrain.jobs.page import page
from ktrain.jobs.reach import run_storage
from ktrain.names import ANNOTATION_REQUEST
from ktrain.request import Answer, Ask, Request, answer_key
from ktrain.storage import Storage

Object = dict[str, Any]
POLL_SECONDS: Final = 0.2
TIMEOUT_SECONDS: Final = 600.0


def ask(
    cluster: Cluster,
    job: Object,
    pods: Iterable[Object],
    what: Ask,
    *,
    rank: int | None = None,
    timeout: float = TIMEOUT_SECONDS,
    on_wait: Callable[[float], object] = lambda _seconds: None,
) -> list[Answer]:
    """The answers of these pods, by node. rank: who is meant, where that is one of theirs.

    Raises TimedOutError when one does not come, MissingError when its pod goes.
    """
    request = Request.new(what, rank=rank)
    change = {"metadata": {"annotations": {ANNOTATION_REQUEST: request.encode()}}}
    asked = list(pods)
    for pod in asked:
        me = pod["metadata"]
        cluster.patch(POD, me["namespace"], me["name"], {"metadata": {**change["metadata"], "uid": me["uid"]}})
    begun = time.monotonic()
    return [_wait(cluster, job, pod, request, begun, timeout, on_wait) for pod in asked]


def _wait(
    cluster: Cluster, job: Object, pod: Object, request: Request, begun: float, timeout: float,
    on_wait: Callable[[float], object],
) -> Answer:  # fmt: skip
    ears = _Ears(cluster, job, pod)
    while time.monotonic() - begun < timeout:
        if found := ears.hear(request):
            return found
        on_wait(time.monotonic() - begun)
        time.sleep(POLL_SECONDS)
    name = pod["metadata"]["name"]
    raise TimedOutError(
        f"pod {name} has not answered within {timeout:g} s (asked for: {request.ask}); its log says what it does: "
        f"`ktrain logs {job['metadata']['name']} -n {job['metadata']['namespace']}`"
    )


class _Ears:
    """Hears one pod: on its own page, or in storage where the page may not be asked for."""

    def __init__(self, cluster: Cluster, job: Object, pod: Object) -> None:
        self._cluster, self._job, self._pod = cluster, job, pod
        self._storage: Storage | None = None

    def hear(self, request: Request) -> Answer | None:
        try:
            return self._on_page(request)
        except ForbiddenError:
            return self._in_storage(request)
        except ClusterError:  # its launcher is busy with its end, or gone: what it said is kept
            self._cluster.get(POD, self._pod["metadata"]["namespace"], self._pod["metadata"]["name"])
            return self._in_storage(request)

    def _on_page(self, request: Request) -> Answer | None:
        document = page(self._cluster, self._pod).get("answer")
        found = Answer.read(document) if document else None
        return found if found and found.id == request.id else None

    def _in_storage(self, request: Request) -> Answer | None:
        try:
            self._storage = self._storage or run_storage(self._cluster, self._job)
            data, _ = self._storage.get(answer_key(request.id, index(self._pod)))
        except NotFound:
            return None
        except StorageError as error:
            raise ClusterError(
                f"pod {self._pod['metadata']['name']} may not be spoken to (pods/proxy), and where it answers cannot be "
                f"reached from here: {error}"
            ) from None
        return Answer.read(json.loads(data))
