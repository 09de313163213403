"""What a controller has decided about a job, as its annotation tells; whatever is written there, this raises nothing."""

import json
from dataclasses import dataclass
from typing import Any, Final

from ktrain.names import ANNOTATION_STATE

Object = dict[str, Any]
BY_CONTROLLER: Final = "Ktrain"  # how the reasons of conditions begin that ktrain itself has set


@dataclass(frozen=True, slots=True)
class Decided:
    """The newest decision, and the pause that it may have brought."""

    last: str = ""  # for people; empty: none
    paused_until: float | None = None  # Unix seconds; the job is suspended, and not by a user


def decided(job: Object) -> Decided:
    """Of this job."""
    document = _document(job)
    decisions, release = document.get("decisions"), document.get("release")
    last = decisions[-1] if isinstance(decisions, list) and decisions and isinstance(decisions[-1], dict) else {}
    until = release.get("until") if isinstance(release, dict) else None
    told = f"{last['reason']}: {last.get('message', '')}" if "reason" in last else ""
    return Decided(told, float(until) if isinstance(until, int | float) else None)


def without_pause(job: Object) -> Object:
    """A patch of the job's metadata that makes a controller's pause the user's own: nobody ends it then."""
    me = job["metadata"]
    text = json.dumps({**_document(job), "release": None}, separators=(",", ":"))
    return {"uid": me["uid"], "resourceVersion": me["resourceVersion"], "annotations": {ANNOTATION_STATE: text}}


def _document(job: Object) -> Object:
    text = (job["metadata"].get("annotations") or {}).get(ANNOTATION_STATE, "")
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
