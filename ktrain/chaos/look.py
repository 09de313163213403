"""What of a job on a cluster is seen in one moment, and when it trains again after a fault. Pure but for `look`."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ktrain.chaos.judge import Recovery
from ktrain.chaos.trace import Kind, Struck
from ktrain.cluster import Cluster
from ktrain.errors import ClusterError
from ktrain.jobs.find import ended, find_job, find_pods, is_running
from ktrain.jobs.page import page

Object = dict[str, Any]
ASKED: Final = 4  # launchers that are asked for rank 0, at most: in an elastic job it is not always the first pod's


@dataclass(frozen=True, slots=True)
class Look:
    """One moment. at: Unix seconds of this machine; page: of the launcher of rank 0, empty when none has it."""

    at: float
    pods: Mapping[str, Object] = field(default_factory=dict)  # by uid
    page: Object = field(default_factory=dict)
    end: str = ""  # the condition's type, when the job has ended

    @property
    def first(self) -> Object:
        """Rank 0's snapshot; empty before it has spoken."""
        return next((it for it in self.page.get("ranks", ()) if it.get("rank") == 0 and "step" in it), {})

    @property
    def epoch(self) -> int:
        """Of the gang; 0 when nobody says."""
        return int(self.page.get("epoch", 0))

    @property
    def step_at(self) -> float:
        """When rank 0 made its newest step, by this machine's clock; 0 when it has made none since it started."""
        last = float(self.first.get("last_step_at") or 0)
        return last + self.at - float(self.page["now"]) if last else 0.0

    @property
    def running(self) -> list[Object]:
        """Pods whose launchers can be spoken to, in their order."""
        return [pod for pod in self.pods.values() if is_running(pod)]


def look(cluster: Cluster, namespace: str, name: str) -> Look:
    """Now."""
    condition = ended(find_job(cluster, namespace, name))
    pods = find_pods(cluster, namespace, name)
    told = _page_of_first(cluster, [pod for pod in pods if is_running(pod)])  # last: its clock is compared with ours
    return Look(time.time(), {it["metadata"]["uid"]: it for it in pods}, told, condition["type"] if condition else "")


def _page_of_first(cluster: Cluster, pods: Sequence[Object]) -> Object:
    for pod in pods[:ASKED]:
        try:
            told = page(cluster, pod)
        except ClusterError:  # not serving yet, or gone since it was listed
            continue
        if any(it.get("rank") == 0 for it in told.get("ranks", ())):
            return told
    return {}


def trains_again(now: Look, before: Look, struck: Struck) -> bool:
    """Whether a step was made that the fault cannot have let through."""
    if now.epoch > before.epoch:
        return now.step_at > struck.at
    # The others wait for a rank that is frozen: once it goes on, so do they, and no rank was started again.
    return (
        struck.fault.kind is Kind.FREEZE
        and now.epoch == before.epoch
        and now.step_at > struck.at + struck.fault.seconds
    )


def recovery(struck: Struck, before: Look, looks: Sequence[Look]) -> Recovery:
    """Of looks since the fault, whose last one trains again: how long it took, and each part of it."""
    last = looks[-1]
    restored = int(last.first.get("restored_step", 0))
    lost = max(0, (struck.step or 0) - restored) if last.epoch > before.epoch else 0
    return Recovery(struck.fault.kind, last.step_at - struck.at, lost, _parts(struck, before, looks))


def _parts(struck: Struck, before: Look, looks: Sequence[Look]) -> tuple[tuple[str, float], ...]:
    """What is whose: `replaced` the operator's, `scheduled` and `started` Kubernetes', the rest ours."""
    signs: dict[str, Callable[[Look], bool]] = {
        "replaced": lambda it: bool(_new(it, before)),
        "scheduled": lambda it: any(map(_is_placed, _new(it, before))),
        "started": lambda it: any(map(_has_started, _new(it, before))),
        "met": lambda it: it.epoch > before.epoch,
    }
    marks = {name: next((it.at for it in looks if sign(it)), None) for name, sign in signs.items()}
    parts, at = [], struck.at
    for name, mark in (*marks.items(), ("restored", looks[-1].step_at)):
        if mark is not None:
            parts.append((name, max(0.0, mark - at)))
            at = max(at, mark)
    return tuple(parts)


def _new(now: Look, before: Look) -> list[Object]:
    return [pod for uid, pod in now.pods.items() if uid not in before.pods]


def _is_placed(pod: Object) -> bool:
    return bool(pod["spec"].get("nodeName"))


def _has_started(pod: Object) -> bool:
    return any("running" in it.get("state", {}) for it in pod["status"].get("containerStatuses", ()))
