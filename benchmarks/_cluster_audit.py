"""What the controllers did, by the API server's own account of it."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hack.cluster import controller
from ktrain.names import ANNOTATION_ATTEMPT

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    at: float  # when it was received, Unix seconds
    verb: str
    resource: str
    key: str
    is_done: bool  # not refused
    body: Object

    @property
    def is_write(self) -> bool:
        """Whether it changes a job or a pod, and no lease or Event."""
        return self.verb in {"patch", "delete"} and self.resource in {"pytorchjobs", "pods"}

    @property
    def what(self) -> str:
        """For counting."""
        return f"{self.verb} {self.resource}"


def asked(since: float = 0.0) -> Sequence[Asked]:
    """All that came since then, the first one first."""
    return sorted((it for it in map(_read, controller.audited()) if it.at >= since), key=lambda it: it.at)


def counted(requests: Iterable[Asked]) -> dict[str, int]:
    """How many of each."""
    return dict(Counter(it.what for it in requests))


def first_write(requests: Iterable[Asked], job: str, after: float) -> float | None:
    """When the job was first written to after that; a write that was refused was of something older."""
    found = (it.at for it in requests if it.what == "patch pytorchjobs" and it.key == job and it.is_done)
    return next((at for at in found if at >= after), None)


def attempts(requests: Iterable[Asked]) -> Counter[tuple[str, str]]:
    """How often each attempt of each job was begun."""
    found: Counter[tuple[str, str]] = Counter()
    for it in requests:
        attempt = (it.body.get("metadata") or {}).get("annotations", {}).get(ANNOTATION_ATTEMPT)
        if it.what == "patch pytorchjobs" and it.is_done and attempt:
            found[it.key, attempt] += 1
    return found


def deletes(requests: Iterable[Asked]) -> Counter[str]:
    """How often each pod was deleted, by uid."""
    done = (it for it in requests if it.what == "delete pods" and it.is_done)
    return Counter(json.dumps(it.body.get("preconditions")) for it in done)


def _read(entry: Object) -> Asked:
    what = entry["objectRef"]
    return Asked(
        at=datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp(), verb=entry["verb"],
        resource=what["resource"], key=f"{what.get('namespace', '')}/{what.get('name', '')}",
        is_done=entry["responseStatus"]["code"] < 400, body=entry.get("requestObject") or {},
    )  # fmt: skip
