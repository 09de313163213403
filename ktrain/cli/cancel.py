"""`ktrain cancel`."""

from ktrain.cli.common import Context, Format, JobName, Namespace, Output, Timeout, say, seconds, show
from ktrain.cli.suspend import Now
from ktrain.names import CliExit


def command(
    name: JobName,
    now: Now = False,
    timeout: Timeout = "10m",
    namespace: Namespace = None,
    context: Context = None,
    output: Output = Format.text,
) -> int:
    """Save, then end the job. Its object stays, marked as cancelled; `ktrain submit --replace` goes on with its run."""
    from ktrain.jobs.cancel import cancel
    from ktrain.jobs.find import reach_job
    from ktrain.jobs.pause import Waiting

    cluster, where, job = reach_job(name, namespace=namespace, context=context)
    step = cancel(cluster, job, save=not now, waiting=Waiting(seconds(timeout), say))
    if output is not Format.text:
        show({"name": name, "namespace": where, "cancelled": True, "step": step}, output)
    say(f"job {name} is cancelled{'' if step is None else f' at step {step}'}; its run is kept")
    return CliExit.OK
