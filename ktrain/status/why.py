"""What a job and each of its pods are doing, and why they are not training. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ktrain.jobs.cancel import REASON as CANCELLED
from ktrain.jobs.decided import BY_CONTROLLER
from ktrain.jobs.find import index, policy_of, queue_of
from ktrain.spec.platform import Elastic
from ktrain.status.observe import Facts
from ktrain.status.word import reason, word

Object = dict[str, Any]
_IMAGE: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
_CONFIG: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


@dataclass(frozen=True, slots=True)
class PodState:
    """One pod in a line: `what` is a word, `why` a sentence when it does not train."""

    name: str
    index: int
    node: str
    what: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """The job in a line, and its pods."""

    what: str
    """suspended, queued, paused, pending, starting, rendezvous, training, stopping, held, succeeded, failed, cancelled"""

    why: str
    pods: tuple[PodState, ...]
    wanted: int


def state(facts: Facts) -> State:
    """From what was observed; the first thing in the way is the reason."""
    spec = facts.job["spec"]
    wanted = int(spec["pytorchReplicaSpecs"]["Worker"].get("replicas", 1))
    pods = tuple(_pod(pod, facts) for pod in facts.pods)
    ended = {it["type"]: it for it in facts.job.get("status", {}).get("conditions") or () if it["status"] == "True"}
    if "Succeeded" in ended:
        return State("succeeded", "", pods, wanted)
    if "Failed" in ended:
        return _failed(facts, ended["Failed"], pods, wanted)
    if spec.get("runPolicy", {}).get("suspend"):
        return State(word(facts.job, facts.workload), _held(facts), pods, wanted)
    return _unfinished(facts, pods, wanted)


def _failed(facts: Facts, condition: Object, pods: tuple[PodState, ...], wanted: int) -> State:
    if str(condition.get("reason", "")) == CANCELLED:
        return State("cancelled", condition["message"], pods, wanted)
    is_ours = str(condition.get("reason", "")).startswith(BY_CONTROLLER)  # its message says why the job was given up
    return State("failed", condition["message"] if is_ours else _failure(facts) or condition["message"], pods, wanted)


def _held(facts: Facts) -> str:
    if told := reason(facts.job, facts.workload):
        return told
    if queue := queue_of(facts.job):
        return f"it is to run through queue {queue}, and there is no Workload that would say why it does not"
    return "its pods are gone, its run is kept (spec.runPolicy.suspend)"


def _unfinished(facts: Facts, pods: tuple[PodState, ...], wanted: int) -> State:
    stuck = next((pod for pod in pods if pod.why), None)
    if _trains_without(facts):
        return State("training", f"without {stuck.name}: {stuck.why}" if stuck else _few(facts, wanted), pods, wanted)
    if stuck:
        return State("pending" if stuck.what == "pending" else stuck.what, f"{stuck.name}: {stuck.why}", pods, wanted)
    if len(pods) < wanted:
        return State("pending", _missing(facts, wanted), pods, wanted)
    if facts.picture.first.get("step") and not facts.picture.notes:
        return State("training", "", pods, wanted)
    return State(facts.picture.state, next(iter(facts.picture.notes), ""), pods, wanted)


def _trains_without(facts: Facts) -> bool:
    """Whether an elastic job is at work, whatever has become of some of its pods."""
    policy, picture = policy_of(facts.job), facts.picture
    return (
        policy is not None
        and isinstance(policy.nodes, Elastic)
        and picture.state == "running"
        and bool(picture.first.get("step"))
    )


def _few(facts: Facts, wanted: int) -> str:
    """Of an elastic job that trains: who else is to come."""
    if len(facts.pods) < wanted:
        return _missing(facts, wanted)
    return next(iter(facts.picture.notes), "")


def _missing(facts: Facts, wanted: int) -> str:
    refused = next((it for it in reversed(facts.events) if it["reason"] == "FailedCreatePod"), None)
    if refused:
        return f"pods are refused: {_last(refused['message'])}"
    return f"{len(facts.pods)} of {wanted} pods are there; the operator has not made the others yet"


def _pod(pod: Object, facts: Facts) -> PodState:
    name, node = pod["metadata"]["name"], pod["spec"].get("nodeName", "")
    what, why = _doing(pod, facts, node)
    return PodState(name, index(pod), node, what, why)


def _doing(pod: Object, facts: Facts, node: str) -> tuple[str, str]:
    status = pod["status"]
    if node in facts.lost_nodes:
        return (
            "lost",
            f"node {node} does not answer (NotReady); the pod is not made again until it is gone from the API",
        )
    if pod["metadata"].get("deletionTimestamp"):
        return "ending", ""
    if status["phase"] == "Pending":
        return "pending", _pending(pod, facts.events)
    if status["phase"] == "Failed":
        return "failed", _exit(pod)
    return {"Running": "running", "Succeeded": "done"}.get(status["phase"], status["phase"].lower()), ""


def _pending(pod: Object, events: Sequence[Object]) -> str:
    scheduled: Object = next((it for it in pod["status"].get("conditions", ()) if it["type"] == "PodScheduled"), {})
    if scheduled.get("status") == "False":
        return f"no node takes it: {scheduled.get('message', scheduled.get('reason', 'unknown'))}"
    for container in pod["status"].get("containerStatuses", ()):
        waiting = container.get("state", {}).get("waiting", {})
        reason, message = waiting.get("reason", ""), _last(waiting.get("message", ""))
        if reason in _IMAGE:
            return f"its image {container['image']} cannot be pulled ({reason}): {message}"
        if reason in _CONFIG:
            return f"its container cannot be made ({reason}): {message}"
    mount = next((it for it in reversed(events) if _is_mount(it, pod)), None)
    return f"a volume is not there: {_last(mount['message'])}" if mount else ""


def _is_mount(event: Object, pod: Object) -> bool:
    return (
        event["reason"] in {"FailedMount", "FailedAttachVolume"}
        and event["involvedObject"].get("uid") == pod["metadata"]["uid"]
    )


def _failure(facts: Facts) -> str:
    """From the pods, else from storage: the operator takes failed pods away."""
    found = next((why for pod in facts.pods if pod["status"]["phase"] == "Failed" and (why := _exit(pod))), "")
    verdict = facts.kept.first_failure
    return found or (_said(verdict, verdict["code"]) if verdict else "")


def _exit(pod: Object) -> str:
    """What its launcher said when it ended, or what Kubernetes says for it."""
    for container in pod["status"].get("containerStatuses", ()):
        ended = container.get("state", {}).get("terminated")
        if not ended:
            continue
        try:
            return _said(json.loads(ended.get("message") or ""), ended["exitCode"])
        except (ValueError, KeyError, TypeError):  # killed before it could speak
            return f"{ended.get('reason', 'ended')} (exit {ended['exitCode']})"
    return str(pod["status"].get("message", "")) or str(pod["status"].get("reason", ""))


def _said(verdict: Object, code: int) -> str:
    rank = f" on rank {verdict['rank']}" if verdict.get("rank") is not None else ""
    return f"{verdict['cause']} (exit {code}){rank}: {verdict['message']}"


def _last(message: str) -> str:
    return message.strip().splitlines()[-1][:300] if message.strip() else "no message"
