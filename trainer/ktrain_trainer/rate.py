"""How the learning rate reaches the optimizer: from a closed form, or from a scheduler of torch's."""

from collections import Counter
from typing import Any, Final, Protocol

import torch

from ktrain.errors import BuildError, CheckpointMismatchError
from ktrain.spec.common import Use
from ktrain.spec.schedule import Schedule
from ktrain_trainer import build
from ktrain_trainer.checkpoint.optimizer import LR_SCALE
from ktrain_trainer.checkpoint.scalars import pack, unpack
from ktrain_trainer.progress import Progress
from ktrain_trainer.schedule import Ramp

_CYCLED: Final = ("lr", "momentum", "betas")  # what schedulers write into groups
_WHERE: Final = "spec.trainer.schedule"


class Rate(Protocol):
    """Before each step `apply`, after each one that was made `stepped`; `memory` goes into checkpoints."""

    def apply(self, optimizer: torch.optim.Optimizer, done: float, per_step: float, progress: Progress) -> float:
        """Sets the rate of every group; returns the base one."""

    def stepped(self) -> None:
        """After a step that was made; a skipped one is none."""

    def memory(self) -> Any:
        """What must be stored, as JSON; None when the rate is a function of progress."""

    def restore(self, optimizer: torch.optim.Optimizer, memory: Any) -> None:
        """Puts back what `memory` gave."""


class ClosedForm:
    """A function of progress: nothing to store."""

    def __init__(self, base: float, ramp: Ramp) -> None:
        self._base, self._ramp = base, ramp

    def apply(self, optimizer: torch.optim.Optimizer, done: float, per_step: float, progress: Progress) -> float:
        lr = self._base * self._ramp(done, per_step) * progress.plateau_factor
        for group in optimizer.param_groups:  # never read back from the optimizer
            group["lr"] = lr * group.get(LR_SCALE, 1.0)
        return lr

    def stepped(self) -> None:
        return None

    def memory(self) -> Any:
        return None

    def restore(self, optimizer: torch.optim.Optimizer, memory: Any) -> None:  # noqa: ARG002
        return None


class Scheduled:
    """A scheduler of torch's or of the user's, stepped once per optimizer step; it writes into the groups itself."""

    def __init__(self, spec: Schedule, optimizer: torch.optim.Optimizer) -> None:
        assert spec.use is not None
        self._optimizer = optimizer
        made = build.construct(Use(use=spec.use, args=spec.args), _WHERE, optimizer=optimizer)
        if isinstance(made, torch.optim.lr_scheduler.ReduceLROnPlateau):
            raise BuildError("ReduceLROnPlateau needs evaluations; write schedule: {name: plateau}", f"{_WHERE}.use")
        if not isinstance(made, torch.optim.lr_scheduler.LRScheduler):
            raise BuildError(f"{spec.use} gave a {type(made).__name__}, not a torch LRScheduler", f"{_WHERE}.use")
        self._scheduler = made

    def apply(self, optimizer: torch.optim.Optimizer, done: float, per_step: float, progress: Progress) -> float:  # noqa: ARG002
        group = optimizer.param_groups[0]
        return float(group["lr"]) / float(group.get(LR_SCALE, 1.0))

    def stepped(self) -> None:
        self._scheduler.step()

    def memory(self) -> Any:
        groups = [{key: group[key] for key in _CYCLED if key in group} for group in self._optimizer.param_groups]
        return {"scheduler": encode(self._scheduler.state_dict()), "groups": encode(groups)}

    def restore(self, optimizer: torch.optim.Optimizer, memory: Any) -> None:
        if not memory:
            raise CheckpointMismatchError("the checkpoint holds no state of schedule.use; begin a new run with --fresh")
        groups = decode(memory["groups"])
        if len(groups) != len(optimizer.param_groups):
            raise CheckpointMismatchError(
                f"the scheduler's state is of {len(groups)} groups of parameters, and the optimizer has "
                f"{len(optimizer.param_groups)}; bring the old optim.rules back, or begin a new run with --fresh"
            )
        self._scheduler.load_state_dict(decode(memory["scheduler"]))
        for group, values in zip(optimizer.param_groups, groups, strict=True):
            group.update(values)


def encode(value: Any) -> Any:
    """As strict JSON that `decode` reads back with its types: tuples, counters, and keys that are no texts."""
    if isinstance(value, dict):
        kind = "counter" if isinstance(value, Counter) else "dict"
        return {kind: [[encode(key), encode(inner)] for key, inner in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [encode(inner) for inner in value]}
    if isinstance(value, list):
        return [encode(inner) for inner in value]
    return pack(value, "the scheduler's state")


def decode(value: Any) -> Any:
    """What `encode` was given."""
    if isinstance(value, list):
        return [decode(inner) for inner in value]
    if not isinstance(value, dict) or "float" in value:
        return unpack(value)
    ((kind, items),) = value.items()
    if kind == "tuple":
        return tuple(decode(inner) for inner in items)
    made = {decode(key): decode(inner) for key, inner in items}
    return Counter(made) if kind == "counter" else made
