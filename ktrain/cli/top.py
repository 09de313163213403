"""`ktrain top`."""

import dataclasses
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ktrain.cli.common import Context, Format, Namespace, Output, say, seconds, show
from ktrain.names import CliExit

if TYPE_CHECKING:
    from rich.table import Table

    from ktrain.status.table import Row


def command(
    name: Annotated[str | None, typer.Argument(metavar="[JOB]", help="Show the ranks of this job.")] = None,
    every: Annotated[str, typer.Option("--every", metavar="TIME", help="How often to look, on a terminal.")] = "2s",
    once: Annotated[bool, typer.Option("--once", help="Look once, as without a terminal.")] = False,
    namespace: Namespace = None,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    context: Context = None,
    output: Output = Format.text,
) -> int:
    """Show how all jobs train, or the ranks of one: step, loss, rate, what is saved. Ctrl-C ends it."""
    from ktrain.cluster import Cluster
    from ktrain.status.observe import observe
    from ktrain.status.table import rows

    cluster = Cluster.connect(context=context)
    where = "" if everywhere else namespace or cluster.namespace
    if output is not Format.text:
        show(
            list(observe(cluster, where, name).picture.ranks)
            if name
            else [_document(it) for it in rows(cluster, where)],
            output,
        )
        return CliExit.OK

    def look() -> "Table":
        return _ranks(observe(cluster, where, name)) if name else _table(rows(cluster, where))

    return _print(look) if once or not sys.stdout.isatty() else _watch(look, seconds(every, "--every"))


def _print(look: "Callable[[], Table]") -> int:
    from rich.console import Console

    table = look()
    if table.row_count:
        Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(table)
    else:
        say("nothing trains here; `ktrain list` shows all jobs")
    return CliExit.OK


def _watch(look: "Callable[[], Table]", every: float) -> int:
    from rich.live import Live

    with Live(look(), auto_refresh=False, screen=False) as live:
        while True:
            time.sleep(every)
            live.update(look(), refresh=True)


def _table(found: "list[Row]") -> "Table":
    from ktrain.progress import length

    table = _blank("namespace", "job", "state", "pods", "step", "done", "loss", "samples/s", "ETA", "saved", "restarts")
    for row in found:
        first = row.picture.first
        saved = str(first["checkpoint_step"]) if first.get("checkpoint_step", -1) >= 0 else ""
        eta = length(first["eta_seconds"]) if first.get("eta_seconds", -1) >= 0 else ""
        table.add_row(
            row.namespace, row.name, row.state, f"{row.running}/{row.nodes}", str(first.get("step", "")),
            f"{first['progress']:.0%}" if first else "", _number(first.get("loss")),
            _number(first.get("samples_per_second")), eta, saved, str(row.picture.restarts) if first else "",
        )  # fmt: skip
    return table


def _ranks(facts: Any) -> "Table":
    from ktrain.local.view import ranks

    return ranks(facts.picture, now=time.time())


def _document(row: "Row") -> dict[str, Any]:
    known = {it.name: getattr(row, it.name) for it in dataclasses.fields(row) if it.name != "picture"}
    return known | {"rank0": row.picture.first or None, "restarts": row.picture.restarts}


def _blank(*names: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="left" if name in {"namespace", "job", "state"} else "right", no_wrap=True)
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
