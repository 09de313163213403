"""Asks the cluster for the logs of a job's pods: once, or as they grow."""

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from ktrain.cluster import JOB, POD, Cluster
from ktrain.errors import ClusterError, ForbiddenError, MissingError
from ktrain.jobs.find import ended, find_job, find_pods, index
from ktrain.logs.merge import Line, merge, parse
from ktrain.status.kept import read_kept

LOOK_EVERY: Final = 1.0


def read(cluster: Cluster, namespace: str, name: str, *, tail: int | None, previous: bool) -> list[Line]:
    """All that is there now, merged, from storage when the pods are gone; MissingError when nothing was written yet."""
    job = find_job(cluster, namespace, name)
    pods = find_pods(cluster, namespace, name)
    logs: list[list[Line]] = []
    silent: list[str] = []
    for pod in pods:
        try:
            logs.append(_log(cluster, namespace, pod, tail=tail, previous=previous))
        except ForbiddenError:
            raise
        except ClusterError as error:  # it waits for its container, or there was none before
            silent.append(f"{pod['metadata']['name']}: {error}")
    if not logs and (kept := _kept(cluster, job)):
        return kept
    if not logs:
        told = silent[0] if silent else "it has no pods now"
        raise MissingError(f"job {name} has no logs: {told}; `ktrain status {name} -n {namespace}` says how it is")
    return list(merge(logs))


def follow(cluster: Cluster, namespace: str, name: str, *, tail: int | None) -> Iterator[Line]:
    """Line by line until the job has ended; pods that are not there yet, or come again, are waited for."""
    found: queue.Queue[Line] = queue.Queue()
    seen: dict[str, threading.Thread] = {}
    while True:
        is_over = _has_ended(cluster, namespace, name)
        for pod in find_pods(cluster, namespace, name):
            uid = pod["metadata"]["uid"]
            if uid not in seen and pod["status"]["phase"] != "Pending":
                seen[uid] = _start(cluster, namespace, pod, found, tail)
        yield from _drain(found, LOOK_EVERY)
        if is_over and not any(thread.is_alive() for thread in seen.values()):
            yield from _drain(found, 0)
            return


def _kept(cluster: Cluster, job: dict[str, Any]) -> list[Line]:
    """The last lines of each rank, as the launchers put them into their verdicts, rank by rank."""
    kept = read_kept(cluster, job)
    return [Line("", 0, f"[rank {rank}] {text}") for rank, lines in sorted(kept.logs.items()) for text in lines]


def _start(
    cluster: Cluster, namespace: str, pod: dict[str, Any], to: "queue.Queue[Line]", tail: int | None
) -> threading.Thread:
    def work() -> None:
        try:
            query = {"timestamps": "true", "follow": "true", "tailLines": "" if tail is None else tail}
            path = POD.path(namespace, pod["metadata"]["name"], "log")
            for text in cluster.lines(path, query=query):
                to.put(parse(text, index(pod)))
        except ClusterError as error:
            to.put(Line("", index(pod), f"its log cannot be read any more: {error}"))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def _drain(found: "queue.Queue[Line]", seconds: float) -> Iterator[Line]:
    until = time.monotonic() + seconds
    while True:
        try:
            yield found.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return


def _has_ended(cluster: Cluster, namespace: str, name: str) -> bool:
    return ended(cluster.get(JOB, namespace, name)) is not None


def _log(cluster: Cluster, namespace: str, pod: dict[str, Any], *, tail: int | None, previous: bool) -> list[Line]:
    query = {"timestamps": "true", "tailLines": "" if tail is None else tail, "previous": "true" if previous else ""}
    text = cluster.text(POD.path(namespace, pod["metadata"]["name"], "log"), query=query)
    return [parse(line, index(pod)) for line in text.splitlines()]
