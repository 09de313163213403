"""How far the run is: everything about it that a checkpoint keeps beside the tensors."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from ktrain.errors import CheckpointError


@dataclass(slots=True)
class Progress:
    """The one mutable record of the loop. Samples and tokens are global, over all ranks."""

    step: int = 0
    samples: int = 0
    tokens: float = 0.0  # sum of the tasks' weights: targets that counted
    seconds: float = 0.0  # spent training, over all attempts
    skipped: int = 0  # steps dropped because of a NaN
    skipped_in_a_row: int = 0
    owes_eval: bool = False  # an evaluation was due when the run was told to stop: the resumed run makes it
    evaluated_step: int = -1
    top: list[float] = field(default_factory=list)  # best values of checkpoint.best's monitor, best first
    early_best: float | None = None  # of earlyStop's monitor
    evals_without_gain: int = 0
    plateau_best: float | None = None  # of schedule plateau's monitor
    evals_on_plateau: int = 0
    plateau_factor: float = 1.0
    scheduler: Any = None  # memory of schedule.use
    lr: float | None = None  # of the last step
    loss_scale: float | None = None  # of fp16
    good_steps: int = 0  # since the scale last changed
    cursor: Any = None  # of a stream: where rank 0 read last
    metrics: dict[str, float] = field(default_factory=dict)  # of the newest evaluation
    finished: str | None = None  # why the run is over: "duration" or "early stop"

    def document(self) -> dict[str, Any]:
        """For the manifest; floats come back bit for bit."""
        return asdict(self)

    @classmethod
    def read(cls, document: Any) -> Self:
        """From a manifest, of this version or an older one that lacks newer fields."""
        if not isinstance(document, dict) or not isinstance(document.get("step"), int):
            raise CheckpointError(
                "the checkpoint's manifest has no progress in it; it was not written by ktrain's trainer"
            )
        return cls(**{name: value for name, value in document.items() if name in cls.__dataclass_fields__})
