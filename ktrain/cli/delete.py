"""`ktrain delete`."""

from ktrain.cli.common import Context, JobName, Namespace, say
from ktrain.names import CliExit


def command(
    name: JobName,
    namespace: Namespace = None,
    context: Context = None,
) -> int:
    """Delete a job and its pods, which save first; its run and checkpoints are kept."""
    from ktrain.cluster import JOB
    from ktrain.jobs.find import reach_job

    cluster, where, job = reach_job(name, namespace=namespace, context=context)
    cluster.delete(JOB, where, name, uid=job["metadata"]["uid"])
    say(f"job {name} is deleted from namespace {where}; its run is kept, and submitting it again goes on")
    return CliExit.OK
