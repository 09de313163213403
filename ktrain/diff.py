"""What a changed job file would change in a cluster, key by key, and what each change takes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from ktrain import resume
from ktrain.resume import Change


class Effect(StrEnum):
    """What a change takes, from little to much."""

    IN_PLACE = "in place"  # its pods need not know: the controller keeps it
    RESTART = "needs a restart"  # new pods, which go on from the last commit
    NEW_JOB = "needs a new job"  # what was trained cannot go on under it


_IN_PLACE: Final = (
    "spec.deadline", "spec.ttl", "spec.autoscale",
)  # fmt: skip
_ELSEWHERE: Final = ("metadata.name", "metadata.namespace", "spec.storage.url")


@dataclass(frozen=True, slots=True)
class Difference:
    """One key, before and after."""

    path: str
    old: Any
    new: Any
    effect: Effect

    def __str__(self) -> str:
        return f"{self.path}: {_text(self.old)} → {_text(self.new)}  ({self.effect})"


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], *, code: tuple[str, str] = ("", "")
) -> list[Difference]:
    """Between two resolved specs, and between the hashes of their code; the heaviest first."""
    found = [Difference(it.path, it.old, it.new, effect(it)) for it in resume.changes(old, new)]
    if code[0] != code[1]:
        found.append(Difference("code", code[0][:12] or None, code[1][:12] or None, Effect.RESTART))
    order = list(Effect)
    return sorted(found, key=lambda it: (-order.index(it.effect), it.path))


def effect(change: Change) -> Effect:
    """What one change takes."""
    if change.mark == "refuse" or _is_below(change.path, _ELSEWHERE):
        return Effect.NEW_JOB
    return Effect.IN_PLACE if _is_below(change.path, _IN_PLACE) else Effect.RESTART


def _is_below(path: str, tops: tuple[str, ...]) -> bool:
    return any(path == top or path.startswith(f"{top}.") for top in tops)


def _text(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 80 else text[:79] + "…"
