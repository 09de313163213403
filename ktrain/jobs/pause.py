"""Takes a job's pods away and brings them back: what is trained is saved first, and goes on with the next step."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ktrain.cluster import JOB, Cluster
from ktrain.errors import ClusterError, SpecError, TakenError, TimedOutError
from ktrain.jobs import queued
from ktrain.jobs.ask import ask
from ktrain.jobs.decided import decided, without_pause
from ktrain.jobs.find import ended, find_job, find_pods, is_running, is_suspended, needed, queue_of, spec_of, worker
from ktrain.jobs.page import state_of
from ktrain.jobs.resize import resized
from ktrain.request import Answer, Ask

Object = dict[str, Any]
Say = Callable[[str], object]
POLL_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long to wait for answers, and who hears that we do."""

    seconds: float
    say: Say


def suspend(cluster: Cluster, job: Object, *, save: bool, waiting: Waiting) -> int | None:
    """Stops the ranks with a commit, then suspends the job and waits for its pods to go; the step, None when unknown.

    TakenError when the job has ended, TimedOutError when a pod does not answer: then nothing has changed for good, because
    launchers that nobody suspends train on by themselves.
    """
    refuse_ended(job)
    if queue_of(job):
        queued.check_pause(cluster, job)
    step = stop_ranks(cluster, job, waiting) if save else None
    if queue_of(job):
        keep_suspended(cluster, find_job(cluster, job["metadata"]["namespace"], job["metadata"]["name"]))
    else:
        _set_suspended(cluster, job, {"spec": {"runPolicy": {"suspend": True}}})
    _wait_for_no_pods(cluster, job, waiting)
    return step


def keep_suspended(cluster: Cluster, job: Object) -> str:
    """Sees to it that neither the controller nor Kueue starts it again; says how it was until now. TakenError."""
    was_paused = _take_over(cluster, job)
    waited = bool(queue_of(job)) and queued.pause(cluster, job)
    if was_paused:
        return "was paused by the controller; the pause is yours now"
    return "waited for admission, and is suspended now" if waited else "is suspended already"


def resume(cluster: Cluster, job: Object, *, nodes: int | None = None) -> int:
    """Lets the job have its pods again, on so many nodes; returns their number. SpecError, TakenError."""
    refuse_ended(job)
    if queue_of(job):
        return queued.resume(cluster, job, nodes=nodes)
    if not is_suspended(job):
        raise TakenError(
            f"job {job['metadata']['name']} is not suspended; `ktrain suspend` it first to change its nodes"
        )
    wanted = nodes if nodes is not None else int(worker(job).get("replicas", 1))
    change: Object = {"spec": {"runPolicy": {"suspend": False}}}
    if nodes is not None and nodes != worker(job).get("replicas"):
        check_nodes(cluster, job, nodes)
        change["spec"] |= resized(job, nodes)
    _set_suspended(cluster, job, change)
    return wanted


def stop_ranks(cluster: Cluster, job: Object, waiting: Waiting) -> int | None:
    """All ranks commit and end, and their launchers wait for what comes next; the step, None when nobody trains."""
    me = job["metadata"]
    running = [pod for pod in find_pods(cluster, me["namespace"], me["name"]) if is_running(pod)]
    if len(running) < needed(job):
        waiting.say("too few of its pods run, so there is nothing to save")
        return None
    if (state := state_of(cluster, running[0])) not in {"running", ""}:
        waiting.say(f"its ranks do not train now ({state}), so there is nothing to save")
        return None
    waiting.say("asked for a last checkpoint; it comes with the next step")
    answer: Answer = ask(cluster, job, running[:1], Ask.STOP, timeout=waiting.seconds)[0]
    if not answer.ok:
        raise ClusterError(f"the ranks did not stop: {answer.message}")
    return answer.step


def refuse_ended(job: Object) -> None:
    """TakenError when nothing can be done with the job any more."""
    how = ended(job)
    if how:
        me = job["metadata"]
        raise TakenError(
            f"job {me['name']} has ended ({how['type']}); `ktrain submit --replace` goes on with its run, "
            f"`ktrain status {me['name']} -n {me['namespace']}` tells of it"
        )


def _take_over(cluster: Cluster, job: Object) -> bool:
    """Whether the job was paused by the controller, which will not end that pause now."""
    if decided(job).paused_until is None:
        return False
    me = job["metadata"]
    cluster.patch(JOB, me["namespace"], me["name"], {"metadata": without_pause(job)})
    return True


def check_nodes(cluster: Cluster, job: Object, nodes: int) -> None:
    """SpecError for a number that the job's spec does not allow."""
    spec = spec_of(cluster, job).spec
    if not spec.min_nodes <= nodes <= spec.max_nodes:
        raise SpecError(
            f"--nodes {nodes}: spec.nodes of this job allows {spec.min_nodes} to {spec.max_nodes}"
            + ("" if spec.min_nodes < spec.max_nodes else "; an elastic job says `nodes: {min: 1, max: 4}`")
        )


def _set_suspended(cluster: Cluster, job: Object, change: Object) -> None:
    me = job["metadata"]
    cluster.patch(JOB, me["namespace"], me["name"], {"metadata": {"uid": me["uid"]}, **change})


def _wait_for_no_pods(cluster: Cluster, job: Object, waiting: Waiting) -> None:
    me, end = job["metadata"], time.monotonic() + waiting.seconds
    while pods := find_pods(cluster, me["namespace"], me["name"]):
        if time.monotonic() > end:
            left = ", ".join(pod["metadata"]["name"] for pod in pods)
            how = "its Workload is inactive (does Kueue run?)" if queue_of(job) else "the job is suspended"
            raise TimedOutError(f"{how}, but {left} has not gone within {waiting.seconds:g} s")
        time.sleep(POLL_SECONDS)
