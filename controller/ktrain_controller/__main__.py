"""The program: `python -m ktrain_controller`."""

import os
import signal
import socket
import sys
import uuid
from typing import Annotated, Final

import typer

from ktrain.cluster import Cluster
from ktrain.errors import KtrainError
from ktrain.voice import Voice
from ktrain_controller.controller import Controller
from ktrain_controller.observation import Limits
from ktrain_controller.options import Options

WEEK: Final = 604_800  # seconds; nobody means a longer patience


def main(
    namespace: Annotated[str, typer.Option(envvar="KTRAIN_NAMESPACE", help="Watch this namespace only.")] = "",
    nodes: Annotated[
        bool | None, typer.Option(envvar="KTRAIN_NODES", help="Read nodes; by default when all namespaces are watched.")
    ] = None,
    lease_namespace: Annotated[
        str, typer.Option(envvar="KTRAIN_LEASE_NAMESPACE", help="Where the Lease is; empty: its own namespace.")
    ] = "",
    lease_name: Annotated[
        str,
        typer.Option(
            envvar="KTRAIN_LEASE_NAME", help="Of the Lease: replicas with the same one stand in for each other."
        ),
    ] = "ktrain-controller",
    prometheus: Annotated[
        str, typer.Option(envvar="KTRAIN_PROMETHEUS", help="URL that autoscale queries go to; empty: no autoscaling.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", envvar="KTRAIN_DRY_RUN", help="Decide, tell by Events, and change nothing.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, envvar="KTRAIN_PORT", help="Of /metrics, /healthz and /readyz.")
    ] = 8080,
    bind: Annotated[str, typer.Option(envvar="KTRAIN_BIND", help="Address of the pages; empty: all.")] = "",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Jobs looked at side by side.")] = 4,
    requests_per_second: Annotated[
        float,
        typer.Option(min=1, max=10_000, help="Changes of jobs, pods and Workloads, at most; Events come besides."),
    ] = 100,
    actions_per_minute: Annotated[int, typer.Option(min=1, help="Interruptions over all jobs, at most.")] = 60,
    start_seconds: Annotated[
        float, typer.Option(min=1, max=WEEK, help="One pod may wait while its peers hold resources.")
    ] = 600,
    node_seconds: Annotated[float, typer.Option(min=1, max=WEEK, help="A node may be NotReady.")] = 40,
    silent_seconds: Annotated[float, typer.Option(min=1, max=WEEK, help="A launcher may be silent.")] = 90,
    hang_margin_seconds: Annotated[
        float, typer.Option(min=1, max=WEEK, help="A launcher may leave a hang to us.")
    ] = 60,
    straggler_seconds: Annotated[
        float, typer.Option(min=1, max=WEEK, help="Over so long the work of ranks is compared.")
    ] = 60,
    sample_seconds: Annotated[
        float, typer.Option(min=1, max=WEEK, help="Between two autoscale queries of a job.")
    ] = 15,
    identity: Annotated[str, typer.Option(help="In the Lease; empty: host and a new id.")] = "",
) -> None:
    """Keep ktrain's jobs alive: restarts, hangs, dead nodes, deadlines, autoscaling."""
    say = Voice(program="controller")
    try:
        cluster = Cluster.connect(retries=0)
        options = Options(
            namespace=namespace, has_nodes=not namespace if nodes is None else nodes, lease_namespace=lease_namespace or cluster.namespace,
            lease_name=lease_name,
            identity=identity or f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}", prometheus=prometheus,
            is_dry=dry_run, workers=workers, requests_per_second=requests_per_second,
            actions_per_minute=actions_per_minute, port=port, bind=bind, sample_seconds=sample_seconds,
            limits=Limits(
                start=start_seconds, node=node_seconds, silent=silent_seconds, hang_margin=hang_margin_seconds,
                straggler=straggler_seconds,
            ),
        )  # fmt: skip
        controller = Controller(cluster, options, say)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: controller.stop())
        controller.run()
    except KtrainError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(error.exit) from None
    sys.stdout.flush()
    os._exit(0)  # watches wait for their next line, and have nothing to lose


if __name__ == "__main__":
    typer.run(main)
