"""Nodes that are lost, and nodes that announce that they will be."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from ktrain.request import Ask
from ktrain_controller.decision import Decision, Request, Wait
from ktrain_controller.model import Node, Pod
from ktrain_controller.observation import Observation
from ktrain_controller.policies.gang import again

STUCK_SECONDS: Final = 300.0  # beyond its grace period, on a node that says it is well
CUT_OFF_SECONDS: Final = 10.0
NOTICED: Final = "notice:"
FORGOTTEN: Final = 86_400.0  # a notice that old was of another life of the node


def lost_node(seen: Observation) -> Decision | Wait | None:
    """Pods there are replaced at once: nothing else takes them away, and the attempt fences whatever still runs."""
    left = {pod: _left(seen, pod) for pod in seen.alive}
    lost = tuple(pod for pod, seconds in left.items() if seconds <= 0)
    if lost and seen.fleet.is_cut_off:
        return Wait(CUT_OFF_SECONDS)  # they run on, for all we know; their attempts would only make them die
    if not lost:
        soon = [seconds for seconds in left.values() if seconds != float("inf")]
        return Wait(min(soon)) if soon else None
    if seen.state.intent and all(pod.uid in seen.state.intent.force for pod in lost):
        return None  # under way
    nodes = tuple(sorted({pod.node for pod in lost if not _is_well(seen.node(pod))}))
    what = ", ".join(pod.name for pod in lost)
    where = f"node {', '.join(nodes)} does not answer" if nodes else "its node does not end it"
    return again(
        seen, seen.state, policy="node", reason="NodeLost", message=f"{what}: {where}; replaced, at no charge",
        pods=lost, force=lost, avoid=nodes,
    )  # fmt: skip


def notice(seen: Observation) -> Decision | Wait | None:
    """A node will go: a checkpoint now makes what is lost small."""
    known = seen.state.asked
    for pod in seen.pods:
        node = seen.node(pod)
        if node is None or not node.notice or not pod.is_up or f"{NOTICED}{node.name}" in known or not seen.is_enough:
            continue
        state = replace(seen.state, asked={**_recent(known, seen.now), f"{NOTICED}{node.name}": seen.now})
        message = f"node {node.name} will go ({node.notice}): asked for a checkpoint"
        return Decision("node", "NodeLeaving", message, Request(Ask.CHECKPOINT, ((pod.name, pod.uid),)), state)
    return None


def _left(seen: Observation, pod: Pod) -> float:
    """Seconds until its node counts as lost; infinity while there is no sign of it."""
    node = seen.node(pod)
    if node is not None and not node.is_ready:
        # Its kubelet took the pod on: then it was there, whatever we still believe of the node.
        return max(node.since, pod.started or 0.0) + seen.limits.node - seen.now
    if pod.deleting is not None:  # deletionTimestamp is when it has to be gone
        patience = STUCK_SECONDS if node is not None else seen.limits.node
        return pod.deleting + patience - seen.now
    return float("inf")


def _is_well(node: Node | None) -> bool:
    return node is not None and node.is_ready


def _recent(asked: Mapping[str, float], now: float) -> dict[str, float]:
    return {name: at for name, at in asked.items() if at > now - FORGOTTEN}
