"""What the trainer calls: save in the background, restore the newest whole checkpoint."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor, nn
from torch.optim import Optimizer

from ktrain.history import Commit, Token
from ktrain.storage import Storage
from ktrain_trainer.checkpoint.retention import Retention
from ktrain_trainer.checkpoint.save import Options, Pending
from ktrain_trainer.checkpoint.world import World

DEFAULT_RETENTION: Final = Retention()
DEFAULT_OPTIONS: Final = Options()


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore found."""

    step: int
    meta: dict[str, Any]
    commit: Commit
    fell_back: tuple[str, ...] = ()  # why newer commits were passed over, the newest first


class Checkpointer:
    """Saves and restores one run, as the writer that holds `token`; all ranks make the same calls in the same order.

    `storage` is scoped to the run. At most one save is in flight: the next one waits for it.
    """

    def __init__(
        self,
        storage: Storage,
        token: Token,
        world: World,
        *,
        run: str,
        retention: Retention = DEFAULT_RETENTION,
        clock: Callable[[], float] = time.time,
        options: Options = DEFAULT_OPTIONS,
    ) -> None:
        raise NotImplementedError

    def save(
        self,
        step: int,
        model: nn.Module,
        optimizer: Optimizer | None,
        meta: Mapping[str, Any],
        *,
        metric: float | None = None,
        extra: Mapping[str, Tensor] | None = None,
    ) -> Pending:
        """Copies the state now and uploads it in the background; a failure is raised by Pending.result()."""
        raise NotImplementedError

    def restore(
        self, model: nn.Module, optimizer: Optimizer | None, *, extra: Mapping[str, Tensor] | None = None
    ) -> Restored | None:
        """Puts the newest whole commit into model and optimizer; None when nothing was ever committed."""
        raise NotImplementedError

    def close(self) -> None:
        """Waits for the save in flight, and for the removal of what it replaced."""
        raise NotImplementedError
