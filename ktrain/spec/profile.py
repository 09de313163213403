"""Looking for time and memory: when torch's profiler looks at a few steps, and how closely."""

from typing import Literal

from pydantic import field_validator

from ktrain.spec.base import Model, setting
from ktrain.spec.common import Length, positive
from ktrain.units import Span


class Profile(Model):
    """torch.profiler over a few steps; nothing of it changes the numbers. `ktrain profile JOB` asks for one at any time."""

    at: Length | None = setting(
        None, resume="free", doc="once, after this much of the run: 50step; none: only when it is asked for"
    )
    steps: int = setting(
        5, resume="free", doc="how many are recorded, after one that warms the profiler up", ge=1, le=1000
    )
    ranks: Literal["first", "all"] = setting("first", resume="free", doc="who records by itself at `at`")
    memory: bool = setting(True, resume="free", doc="allocations by operator; on GPUs also a snapshot of each block")
    shapes: bool = setting(False, resume="free", doc="tell operators apart by the shapes of their inputs")
    stack: bool = setting(False, resume="free", doc="Python's stack of each operator, for a flame graph; slow")

    @field_validator("at")
    @classmethod
    def _units(cls, at: Span | None) -> Span | None:
        return at if at is None else positive(at)
