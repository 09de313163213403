"""Whether the cluster is one that ktrain's jobs can run on."""

from collections.abc import Iterator
from typing import Final

from ktrain.cluster import JOB, NAMESPACE, Cluster
from ktrain.doctor.check import Check, Verdict
from ktrain.errors import ForbiddenError, MissingError

TESTED: Final = ("1.35", "1.36")
"""Oldest and newest minor version that the tests have run on, with one of leeway below."""


def answers(cluster: Cluster) -> Iterator[Check]:
    """The API server and its version."""
    version = cluster.raw("/version")
    minor = f"{version['major']}.{version['minor'].rstrip('+')}"
    verdict = Verdict.OK if _number(TESTED[0]) <= _number(minor) <= _number(TESTED[1]) else Verdict.WARN
    more = "" if verdict is Verdict.OK else f"; tested are {TESTED[0]} to {TESTED[1]}"
    yield Check("cluster", verdict, f"context {cluster.name} answers, Kubernetes {version['gitVersion']}{more}")


def operator(cluster: Cluster) -> Iterator[Check]:
    """The kind that jobs become."""
    try:
        kinds = {it["name"] for it in cluster.raw(f"/apis/{JOB.api}")["resources"]}
    except MissingError:
        kinds = set()
    if JOB.plural not in kinds:
        yield Check("operator", Verdict.FAIL, JOB.unknown())
        return
    yield Check("operator", Verdict.OK, f"the cluster knows {JOB.name} ({JOB.api})")


def namespace(cluster: Cluster, name: str) -> Iterator[Check]:
    """That it is there, and what it enforces."""
    try:
        found = cluster.get(NAMESPACE, "", name)
    except ForbiddenError as error:
        yield Check("namespace", Verdict.UNKNOWN, str(error))
        return
    except MissingError:
        yield Check(
            "namespace", Verdict.FAIL, f"there is no namespace {name}; make it with `kubectl create namespace {name}`"
        )
        return
    level = found["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce", "nothing")
    yield Check("namespace", Verdict.OK, f"{name} is there; Pod Security enforces {level}")


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
