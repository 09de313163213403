"""`ktrain profile`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ktrain.cli.common import Context, Format, JobName, Namespace, Output, Timeout, say, seconds, show
from ktrain.errors import ClusterError, SpecError
from ktrain.names import CliExit
from ktrain.units import counted

if TYPE_CHECKING:
    from ktrain.storage import Storage


def command(
    name: JobName,
    rank: Annotated[int, typer.Option("--rank", min=0, help="Whose steps.")] = 0,
    to: Annotated[Path | None, typer.Option("--to", metavar="FOLDER", help="Also fetch the files into this.")] = None,
    timeout: Timeout = "10m",
    namespace: Namespace = None,
    context: Context = None,
    output: Output = Format.text,
) -> int:
    """Record the next steps of one rank with torch's profiler, while it trains on, as trainer.profile says."""
    from ktrain.jobs.ask import ask
    from ktrain.jobs.find import reach_job, running_pods, spec_of
    from ktrain.jobs.page import runs_rank
    from ktrain.jobs.reach import run_storage
    from ktrain.request import Ask

    cluster, where, job = reach_job(name, namespace=namespace, context=context)
    pods, per_pod = running_pods(cluster, where, name), spec_of(cluster, job).spec.ranks_per_node
    if rank >= len(pods) * per_pod:
        raise SpecError(
            f"--rank {rank}: job {name} has {counted(len(pods), 'running pod')} of {counted(per_pod, 'rank')}, counted from 0"
        )
    likely = pods[rank // per_pod]  # another only in an elastic job that lacks a pod
    pod = next((it for it in (likely, *pods) if runs_rank(cluster, it, rank)), likely)
    (answer,) = ask(cluster, job, [pod], Ask.PROFILE, rank=rank, timeout=seconds(timeout))
    if not answer.ok:
        raise ClusterError(f"no profile was taken: {answer.message}")
    say(f"{answer.message}.*")
    files = _fetch(run_storage(cluster, job), answer.step or 0, rank, to) if to else []
    if output is not Format.text:
        show({"name": name, "rank": rank, "step": answer.step, "at": answer.message, "files": files}, output)
    say("the trace opens in https://ui.perfetto.dev; the tables of operators are in the .txt beside it")
    return CliExit.OK


def _fetch(storage: "Storage", step: int, rank: int, to: Path) -> list[str]:
    from ktrain.request import profile_key

    found = []
    try:
        to.mkdir(parents=True, exist_ok=True)
        for entry in storage.list(f"{profile_key(step, rank)}."):
            path = to / f"step-{step:09d}-{entry.key.rpartition('/')[2]}"
            path.write_bytes(storage.get(entry.key)[0])
            say(f"  {path}")
            found.append(str(path))
    except OSError as error:
        raise SpecError(f"--to {to}: cannot be written: {error.strerror or error}") from error
    return found
