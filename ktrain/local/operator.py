"""What the cluster's operator would do with a launcher that ended. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from ktrain.names import Exit
from ktrain.spec.platform import Restart


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, and after which pause."""

    action: Literal["done", "restart", "fail", "leave", "yield"]
    pause: timedelta = timedelta(0)


def judge(
    code: int,
    *,
    stopping: bool,
    failures: Sequence[float],
    now: float,
    budget: Restart,
    is_local: bool = False,
    is_taken_over: bool = False,
) -> Verdict:
    """restartPolicy ExitCode: 0 is done, 1 to 127 is for good, from 128 on the pod comes back, within the budget.

    failures: when launchers failed before (this one included), in seconds. A preemption (143) costs nothing.
    is_local: storage is a folder here. A disk that is full or forbidden stays so until somebody does something.
    """
    if code == 0:
        return Verdict("done")
    if stopping:
        return Verdict("leave")
    if is_taken_over:  # coming back would only take it over in turn
        return Verdict("yield")
    if 0 < code < 128 or (code == Exit.STORAGE and is_local):
        return Verdict("fail")
    if code == 143:
        return Verdict("restart")
    recent = [at for at in failures if now - at <= budget.window.total_seconds()]
    if len(recent) > budget.max:
        return Verdict("fail")
    return Verdict("restart", budget.pause(len(recent)))
