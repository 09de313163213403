"""`ktrain diff`."""

import dataclasses

from ktrain.cli.common import Context, Format, JobFile, Namespace, Output, Sets, program, say, show
from ktrain.names import CliExit

NEXT = {
    "in place": "next: {ktrain} submit {file} -n {where}",
    "needs a restart": "next: {ktrain} cancel {name} -n {where} && {ktrain} submit {file} --replace -n {where}",
    "needs a new job": "next: {ktrain} cancel {name} -n {where} && {ktrain} submit {file} --replace --fresh -n {where}",
}


def command(
    job: JobFile,
    namespace: Namespace = None,
    context: Context = None,
    sets: Sets = None,
    output: Output = Format.text,
) -> int:
    """Compare a job file with the job in the cluster, as to what it means. Exits 0: the same, 1: differs, more: an error."""
    import typer

    from ktrain.cluster import Cluster
    from ktrain.jobs.find import find_job
    from ktrain.submit.compare import compare
    from ktrain.submit.load import load_for

    cluster = Cluster.connect(context=context)
    loaded = load_for(job, sets or (), namespace, cluster.namespace)
    me = loaded.job.metadata
    there = find_job(cluster, me.namespace, me.name)
    found = compare(cluster, there, loaded)
    if output is not Format.text:
        show([dataclasses.asdict(it) | {"effect": str(it.effect)} for it in found], output)
    else:
        for it in found:
            typer.echo(str(it))
    if not found:
        say(f"job {me.name} in namespace {me.namespace} is what {job} says")
        return CliExit.OK
    say(NEXT[found[0].effect].format(ktrain=program(), name=me.name, where=me.namespace, file=job))
    return CliExit.FAILED
