"""What an autoscale query has answered lately: one number is no trend. Pure."""

from dataclasses import dataclass
from typing import Final

from ktrain_controller.prometheus import Answer

TOLERANCE: Final = 0.1  # of the target, as the HPA's


@dataclass(frozen=True, slots=True)
class Sample:
    """The newest answer, and how many in a row were on its side of the target."""

    at: float
    value: float | None  # None: hold
    why: str = ""  # there is no value
    streak: int = 0


def follow(before: Sample | None, answer: Answer, target: float, now: float) -> Sample:
    """An answer without a value, or one that is near the target, begins anew."""
    if answer.value is None:
        return Sample(now, None, answer.why)
    side = _side(answer.value, target)
    is_same = side and before is not None and before.value is not None and _side(before.value, target) == side
    return Sample(now, answer.value, "", (before.streak + 1 if before and is_same else 1) if side else 0)


def _side(value: float, target: float) -> int:
    if abs(value / target - 1) <= TOLERANCE:
        return 0
    return 1 if value > target else -1
