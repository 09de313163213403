"""`ktrain checkpoints …`."""

import dataclasses
import sys
import threading
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ktrain.cli.common import Context, Format, JobName, Namespace, Output, Sets, Timeout, confirmed, say, seconds, show
from ktrain.errors import ClusterError, MissingError
from ktrain.names import CliExit
from ktrain.units import counted

if TYPE_CHECKING:
    from ktrain.history import Commit, Head
    from ktrain.storage import Storage

group = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})
Source = Annotated[
    str, typer.Argument(metavar="RUN", help="A job in the cluster, a job file, or the folder or URL of a job or run.")
]


@group.command("list")
def list_(
    run: Source,
    sets: Sets = None,
    namespace: Namespace = None,
    context: Context = None,
    output: Output = Format.text,
) -> int:
    """List the checkpoints of a run, the newest last."""
    from ktrain.units import format_bytes

    storage, head = _head(run, sets, namespace, context)
    commits = head.commits if head else ()
    if output is not Format.text:
        show([dataclasses.asdict(commit) for commit in commits], output)
        return CliExit.OK
    say(f"{storage.url}{' (done)' if head and head.done else ''}")
    if not commits:
        say("it has no checkpoint yet")
    for commit in commits:
        metric = "" if commit.metric is None else f"  {commit.metric:.6g}"
        made = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(commit.created))
        typer.echo(f"{commit.step:>10}  {made}  {format_bytes(commit.size_bytes):>10}  {commit.token.prefix}{metric}")
    return CliExit.OK


@group.command()
def verify(
    run: Source,
    step: Annotated[int | None, typer.Option("--step", min=0, help="Only the checkpoint of this step.")] = None,
    sets: Sets = None,
    namespace: Namespace = None,
    context: Context = None,
    output: Output = Format.text,
) -> int:
    """Read every byte of a run's checkpoints and compare it with its checksum. Exits 1 when one is damaged."""
    from ktrain.checkpoints.readers import of_step, reading

    storage = _storage(run, sets, namespace, context)
    with reading(storage, of_step(step)) as commits:
        if not commits:
            raise MissingError(_none(storage, step))
        found = [_verify(storage, commit, quiet=output is not Format.text) for commit in commits]
    if output is not Format.text:
        show(found, output)
    return CliExit.FAILED if any(it["problems"] for it in found) else CliExit.OK


class Weights(StrEnum):
    """Which are exported."""

    model = "model"
    ema = "ema"


@group.command()
def export(
    run: Source,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="A new folder for the files.")],
    step: Annotated[int | None, typer.Option("--step", min=0, help="Of this step; none: the newest.")] = None,
    weights: Annotated[
        Weights, typer.Option("--weights", help="ema: the average that trainer.optim.ema made.")
    ] = Weights.model,
    strip: Annotated[str, typer.Option("--strip", metavar="PREFIX", help="Names of weights lose this beginning.")] = "",
    max_shard: Annotated[
        float, typer.Option("--max-shard", min=0.001, metavar="GB", help="Size of a file, at most.")
    ] = 5.0,
    sets: Sets = None,
    namespace: Namespace = None,
    context: Context = None,
    output: Output = Format.text,
) -> int:
    """Write the weights of a checkpoint as safetensors files, for Hugging Face and others. Every byte is checked."""
    from ktrain.checkpoints import export as act
    from ktrain.checkpoints import safetensors
    from ktrain.checkpoints.read import read_manifest
    from ktrain.checkpoints.readers import of_step, reading
    from ktrain.units import format_bytes

    storage, is_shown = _storage(run, sets, namespace, context), output is Format.text
    with reading(storage, lambda head: of_step(step)(head)[-1:]) as commits:
        if not commits:
            raise MissingError(_none(storage, step))
        commit = commits[0]
        manifest = read_manifest(storage, commit)
        wanted = safetensors.weights(manifest, average=weights is Weights.ema, strip=strip)
        parts = safetensors.layout(manifest, wanted, most_bytes=int(max_shard * 1e9))
        with _Progress(f"step {commit.step}", act.wanted_bytes(manifest, parts), is_shown=is_shown) as progress:
            act.export(storage, manifest, parts, out, on_bytes=progress.add)
    files = [str(out / part.name) for part in parts]
    if not is_shown:
        show(
            {"step": commit.step, "files": files, "tensors": len(wanted), "bytes": sum(it.size for it in parts)}, output
        )
        return CliExit.OK
    say(f"step {commit.step}: {counted(len(wanted), 'tensor')}, {format_bytes(sum(it.size for it in parts))}")
    for name in files:
        typer.echo(name)
    return CliExit.OK


@group.command()
def prune(
    run: Source,
    keep: Annotated[int, typer.Option("--keep", min=1, help="How many of the newest stay.")],
    best: Annotated[int, typer.Option("--best", min=0, help="How many of the best by their metric stay too.")] = 0,
    higher: Annotated[bool, typer.Option("--higher-is-better", help="For --best: the metric is no loss.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    sets: Sets = None,
    namespace: Namespace = None,
    context: Context = None,
) -> int:
    """Delete older checkpoints of a run, and what interrupted saves left; never the newest."""
    from ktrain.checkpoints.prune import plan
    from ktrain.checkpoints.prune import prune as act
    from ktrain.checkpoints.retention import Retention
    from ktrain.units import format_bytes

    storage, head = _head(run, sets, namespace, context)
    if head is None or not head.commits:
        say(f"{storage.url} has no checkpoint; there is nothing to prune")
        return CliExit.OK
    wanted = plan(storage, head, Retention(keep, best, "max" if higher else "min"))
    steps = ", ".join(str(commit.step) for commit in wanted.removed) or "none"
    say(f"{storage.url}\n  goes   {steps} ({format_bytes(wanted.freed_bytes)})\n  stays  "
        + ", ".join(str(commit.step) for commit in wanted.kept))  # fmt: skip
    if dry_run or not (yes or confirmed("delete them?", "say --yes or --dry-run")):
        say("nothing was deleted")
        return CliExit.OK
    done = act(storage, wanted)
    say(
        f"deleted {counted(len(done.removed), 'checkpoint')} and {counted(len(done.orphans), 'leftover')} of interrupted saves"
    )
    return CliExit.OK


@group.command()
def now(
    name: JobName,
    timeout: Timeout = "10m",
    namespace: Namespace = None,
    context: Context = None,
    output: Output = Format.text,
) -> int:
    """Ask a running job in the cluster for a checkpoint, and wait until it is committed."""
    from ktrain.jobs.ask import ask
    from ktrain.jobs.find import reach_job, running_pods
    from ktrain.request import Ask

    cluster, where, job = reach_job(name, namespace=namespace, context=context)
    pods = running_pods(cluster, where, name)[:1]
    answer = ask(cluster, job, pods, Ask.CHECKPOINT, timeout=seconds(timeout))[0]
    if not answer.ok:
        raise ClusterError(f"no checkpoint was made: {answer.message}")
    if output is not Format.text:
        show({"name": name, "namespace": where, "step": answer.step}, output)
    say(answer.message)
    return CliExit.OK


def _head(
    source: str, sets: list[str] | None, namespace: str | None, context: str | None
) -> "tuple[Storage, Head | None]":
    from ktrain.history import read_head

    storage = _storage(source, sets, namespace, context)
    return storage, read_head(storage)


def _storage(source: str, sets: list[str] | None, namespace: str | None, context: str | None) -> "Storage":
    from ktrain.named import find_run

    is_here = "/" in source or "://" in source or Path(source).exists()
    return find_run(source, sets or ())[0] if is_here else _in_cluster(source, namespace, context)


def _none(storage: "Storage", step: int | None) -> str:
    of = "" if step is None else f" of step {step}"
    return f"{storage.url} has no checkpoint{of}; `ktrain checkpoints list` shows them"


def _in_cluster(name: str, namespace: str | None, context: str | None) -> "Storage":
    from ktrain.jobs.find import reach_job
    from ktrain.jobs.reach import run_storage

    cluster, _, job = reach_job(name, namespace=namespace, context=context)
    return run_storage(cluster, job)


def _verify(storage: "Storage", commit: "Commit", *, quiet: bool) -> dict[str, Any]:
    from ktrain.checkpoints.verify import verify as check

    with _Progress(f"step {commit.step}", commit.size_bytes, is_shown=not quiet) as progress:
        problems = check(storage, commit, on_bytes=progress.add)
    if not quiet:
        typer.echo(f"step {commit.step}: {'damaged' if problems else 'whole'}")
        for problem in problems:
            typer.echo(f"  {problem}")
    return {"step": commit.step, "whole": not problems, "problems": problems}


class _Progress:
    """A bar on a terminal, nothing elsewhere; heard by several threads."""

    def __init__(self, title: str, total: int, *, is_shown: bool) -> None:
        self._title, self._total, self._done = title, max(total, 1), 0
        self._is_shown = is_shown and sys.stderr.isatty()
        self._lock = threading.Lock()

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_error: object) -> None:
        if self._is_shown:
            typer.echo("\r\033[K", err=True, nl=False)

    def add(self, num_bytes: int) -> None:
        """So much more is done."""
        with self._lock:
            self._done += num_bytes
            if self._is_shown:
                typer.echo(f"\r{self._title}: {self._done / self._total:.0%}", err=True, nl=False)
