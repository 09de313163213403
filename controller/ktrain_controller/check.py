"""Whether its account, its replicas and a storage are as they should be: `python -m ktrain_controller.check`, for `helm test`."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Annotated

import typer

from ktrain.cluster import JOB, LEASE, NODE, POD, WORKLOAD, Cluster, Kind
from ktrain.doctor.check import Check, Verdict, guarded
from ktrain.doctor.storage import probe
from ktrain.errors import KtrainError, NoKindError
from ktrain.names import MANAGED_BY
from ktrain.storage import open_storage
from ktrain_controller.lease import DURATION


def main(
    namespace: Annotated[str, typer.Option(help="As the controller's.")] = "",
    lease_name: Annotated[str, typer.Option(help="As the controller's.")] = "ktrain-controller",
    storage: Annotated[str, typer.Option(help="URL of a storage to write to; empty: none is asked.")] = "",
    endpoint: Annotated[str, typer.Option(help="Of an S3 that is not Amazon's.")] = "",
    region: Annotated[str, typer.Option(help="Of the S3.")] = "",
) -> None:
    """Ask once what the controller asks, and say what is missing; exits 1 when something is."""
    try:
        found = list(_api(Cluster.connect(), namespace, lease_name))
        found += _storage(storage, endpoint, region) if storage else []
    except KtrainError as error:
        found = [Check("cluster", Verdict.FAIL, str(error))]
    for check in found:
        typer.echo(f"{check.verdict:<4} {check.name:<12} {check.told}")
    raise typer.Exit(int(any(check.verdict is Verdict.FAIL for check in found)))


def _api(cluster: Cluster, namespace: str, lease_name: str) -> Iterator[Check]:
    for kind in (JOB, POD, *([] if namespace else [NODE])):
        yield from guarded(kind.plural, partial(_lists, cluster, kind, namespace), otherwise=Verdict.FAIL)
    yield from guarded(WORKLOAD.plural, partial(_workloads, cluster, namespace), otherwise=Verdict.FAIL)
    yield from guarded("lease", partial(_leader, cluster, lease_name), otherwise=Verdict.FAIL)


def _lists(cluster: Cluster, kind: Kind, namespace: str) -> Iterator[Check]:
    labels = "" if kind is NODE else f"{MANAGED_BY}=ktrain"
    cluster.page(kind, namespace if kind.is_namespaced else "", labels=labels, limit=1)
    yield Check(kind.plural, Verdict.OK, "can be listed")


def _workloads(cluster: Cluster, namespace: str) -> Iterator[Check]:
    for kind in filter(None, (WORKLOAD, WORKLOAD.older)):
        try:
            cluster.page(kind, namespace, limit=1)
        except NoKindError:
            continue
        yield Check(kind.plural, Verdict.OK, "can be listed")
        return
    yield Check(WORKLOAD.plural, Verdict.OK, "this cluster has no Kueue")


def _leader(cluster: Cluster, name: str) -> Iterator[Check]:
    spec = cluster.get(LEASE, cluster.namespace, name).get("spec") or {}
    holder, renewed = spec.get("holderIdentity"), spec.get("renewTime")
    if not holder or not renewed:
        yield Check("lease", Verdict.FAIL, f"nobody leads; the logs of deployment/{name} say why")
        return
    age = (cluster.server_time or 0.0) - datetime.fromisoformat(renewed).timestamp()
    verdict = Verdict.OK if age < DURATION else Verdict.FAIL
    yield Check("lease", verdict, f"{holder} leads, and said so {max(0.0, age):.0f} s ago")


def _storage(url: str, endpoint: str, region: str) -> Iterator[Check]:
    found = open_storage(url, endpoint=endpoint or None, region=region or None)
    yield from guarded("storage", partial(probe, found), otherwise=Verdict.FAIL)


if __name__ == "__main__":
    typer.run(main)
