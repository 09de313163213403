"""Whether a pod that is told to go has the time to save: what saving took in this run, against its grace period."""

import math
from collections.abc import Sequence
from typing import Final

from ktrain.records import Record, read_records
from ktrain.spec import TrainingJob
from ktrain.storage import Storage
from ktrain.units import format_bytes

STEPS: Final = 2  # at most, from the signal to the one that is saved
MARGIN: Final = 1.2  # of the time that the newest save took
_SEGMENTS: Final = 8  # of the newest records: enough for a save, and never the whole of a long run


def warning(job: TrainingJob, run_storage: Storage) -> str | None:
    """A sentence when it has not; None when it has, or nothing was measured. StorageError."""
    records = read_records(run_storage, last=_SEGMENTS).all
    saves = [it for it in records if it["kind"] == "checkpoint" and it.get("committed") and it.get("seconds")]
    if not saves:
        return None
    step, save = _step_seconds(records), saves[-1]
    needed = STEPS * step + MARGIN * save["seconds"]
    grace = job.spec.preemption.grace.total_seconds()
    if needed <= grace:
        return None
    return (
        f"spec.preemption.grace is {grace:.0f} s, and a pod of this run that is told to go needs about {math.ceil(needed)} s: "
        f"{STEPS} steps of {step:.3g} s, and a checkpoint of {format_bytes(save.get('size_bytes', 0))}, which took "
        f"{save['seconds']:.1f} s; write preemption: {{grace: {_rounded(needed)}s}}, or what is done since the last checkpoint is lost"
    )


def _step_seconds(records: Sequence[Record]) -> float:
    steps = [it for it in records if it["kind"] == "step"][-2:]
    if len(steps) < 2 or steps[1]["step"] <= steps[0]["step"]:
        return 0.0
    seconds: float = (steps[1]["time"] - steps[0]["time"]) / (steps[1]["step"] - steps[0]["step"])
    return max(0.0, seconds)


def _rounded(seconds: float) -> int:
    return math.ceil(seconds / 10) * 10
