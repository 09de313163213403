"""The scale of the loss for fp16: gradients that would vanish in 16 bits are made larger, and divided again in 32.

As torch.amp.GradScaler, but decided by the norm that all ranks share, and with its memory in the progress.
"""

from typing import Final

from ktrain.spec import Trainer
from ktrain_trainer.progress import Progress

FIRST: Final = 65536.0
GROWS_AFTER: Final = 2000  # good steps in a row


def of(spec: Trainer, progress: Progress) -> float:
    """The factor of this step's loss."""
    if spec.precision != "fp16":
        return 1.0
    return FIRST if progress.loss_scale is None else progress.loss_scale


def was_good(spec: Trainer, progress: Progress) -> None:
    """After a step that was made."""
    if spec.precision != "fp16":
        return
    progress.loss_scale = of(spec, progress)
    progress.good_steps += 1
    if progress.good_steps == GROWS_AFTER:
        progress.loss_scale, progress.good_steps = progress.loss_scale * 2, 0


def has_overflowed(spec: Trainer, progress: Progress) -> bool:
    """Whether a norm that is not finite is an overflow, for which the step is skipped at half the scale; at 1 it is no overflow."""
    if spec.precision != "fp16" or of(spec, progress) <= 1:
        return False
    progress.loss_scale, progress.good_steps = of(spec, progress) / 2, 0
    progress.skipped += 1
    return True
