"""`ktrain submit`."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ktrain.cli.common import Context, Format, JobFile, Namespace, Output, Sets, Timeout, program, say, seconds, show
from ktrain.errors import SpecError
from ktrain.load import Loaded
from ktrain.names import CliExit
from ktrain.units import counted

if TYPE_CHECKING:
    from ktrain.cluster import Cluster
    from ktrain.diff import Difference
    from ktrain.spec import Metadata
    from ktrain.submit.plan import Plan
    from ktrain.taken import Taken


class DryRun(StrEnum):
    """How far to go without creating anything."""

    none = "none"
    server = "server"


def command(
    job: JobFile,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin a new run beside those that are there.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete a job of this name that has ended; its run goes on.")
    ] = False,
    dry_run: Annotated[
        DryRun, typer.Option("--dry-run", help="server: ask the cluster, and create nothing.")
    ] = DryRun.none,
    wait: Annotated[bool, typer.Option("--wait", help="Until the job has ended; exits 9 when it failed.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print its logs until it has ended.")] = False,
    timeout: Timeout = "7d",
    namespace: Namespace = None,
    context: Context = None,
    sets: Sets = None,
    output: Output = Format.text,
) -> int:
    """Check a job file, upload its code, and create the job in the cluster."""
    from ktrain.cluster import Cluster
    from ktrain.submit import create
    from ktrain.submit.amend import amendable
    from ktrain.submit.load import load_for
    from ktrain.submit.plan import plan

    cluster = Cluster.connect(context=context)
    loaded = load_for(job, sets or (), namespace, cluster.namespace)
    _lint(loaded)
    if not (replace or fresh) and (found := amendable(cluster, loaded)):
        return _amend(cluster, loaded, *found, is_real=dry_run is DryRun.none)
    replaced = create.ended_job(cluster, loaded.job, replace=replace)
    create.dry_run(cluster, loaded.job, replaced=replaced)
    planned = plan(loaded, cluster, fresh=fresh)
    for note in planned.notes:
        say(f"note: {note}")
    is_real = dry_run is DryRun.none
    taken = create.create(cluster, planned, replaced=replaced) if is_real else planned.taken
    _tell(planned, taken, output, is_created=is_real)
    if is_real and (wait or follow):
        return _see_to_its_end(cluster, loaded.job.metadata, seconds(timeout), is_followed=follow)
    return CliExit.OK


def _amend(
    cluster: "Cluster", loaded: Loaded, there: dict[str, Any], found: "list[Difference]", *, is_real: bool
) -> int:
    """The job goes on as it is, with other settings of the controller."""
    from ktrain.submit.amend import amend

    if is_real:
        amend(cluster, there, loaded)
    for it in found:
        typer.echo(str(it))
    me = loaded.job.metadata
    done = "was changed" if is_real else "would be changed"
    say(f"job {me.name} in namespace {me.namespace} {done} in place; its pods go on")
    return CliExit.OK


def _see_to_its_end(cluster: "Cluster", me: "Metadata", timeout: float, *, is_followed: bool) -> int:
    from ktrain.status.wait import wait_for_end

    if is_followed:
        from ktrain.logs.read import follow

        for line in follow(cluster, me.namespace, me.name, tail=None):
            typer.echo(line.shown())
    state = wait_for_end(cluster, me.namespace, me.name, timeout=timeout, say=say)
    say(f"{me.name}: {state.what}" + (f": {state.why}" if state.why else ""))
    return CliExit.OK if state.what == "succeeded" else CliExit.JOB_FAILED


def _lint(loaded: Loaded) -> None:
    from ktrain.lint import lint

    findings = lint(loaded.job)
    for finding in findings:
        say(f"{finding.level} {finding.code} {finding.path}: {finding.message}")
    errors = [finding.code for finding in findings if finding.level == "error"]
    if errors:
        raise SpecError(f"the job would not work ({', '.join(errors)}); `ktrain lint --explain {errors[0]}` says why")


def _tell(planned: "Plan", taken: "Taken | None", output: Format, *, is_created: bool) -> None:
    me, code = planned.loaded.job.metadata, planned.code
    run, step = (taken.run, taken.step) if taken else ("", 0)
    if output is not Format.text:
        show({"name": me.name, "namespace": me.namespace, "run": run, "step": step,
              "code": code.sha256 if code else None, "created": is_created}, output)  # fmt: skip
        return
    if not is_created:
        say(f"the cluster would take job {me.name} in namespace {me.namespace}; nothing was created")
        return
    say(f"job {me.name} is in namespace {me.namespace}" + (f", run {run[:8]}" if run else ""))
    if step:
        say(f"  goes on from step {step}")
    if code:
        say(f"  code         {counted(code.num_files, 'file')}, {code.sha256[:12]}")
    say(f"  next: {program()} status {me.name} -n {me.namespace}")
