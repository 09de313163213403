"""A trainer from scratch: every line of a training step, in order, with its reason.

One step has six parts, and their order is not a matter of taste:

    1. forward and backward of each micro-batch     gradients add up in .grad
    2. unscale                                      only with fp16: gradients are made true again
    3. is anything NaN or infinite?                 then forget this step; the weights are still good
    4. clip                                         on the true gradient of the whole step, not on a part of it
    5. set the learning rate                        before the step that it is meant for
    6. optimizer step, zero the gradients           so that the next step begins from nothing

The real loop (ktrain_trainer/loop.py) has the same six; between 1 and 2 it adds up the gradients of all ranks.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import torch
from torch import nn

from ktrain_trainer import rng
from ktrain_trainer.tutorial.batches import MicroBatch
from ktrain_trainer.tutorial.scaler import LossScaler

DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Optimizer(Protocol):
    """What the trainer wants of an optimizer: torch's have it, and those from scratch too."""

    param_groups: list[dict[str, Any]]

    def zero_grad(self) -> None: ...

    def step(self) -> object: ...


@dataclass
class TrainerFromScratch:
    """Trains a model in one process, on batches of (inputs, targets)."""

    model: nn.Module
    optimizer: Optimizer
    loss: Callable[..., torch.Tensor]  # (outputs, targets, reduction="sum") → a number
    lr: float  # the base rate; the schedule gives a factor of it
    schedule: Callable[[int], float] = lambda _step: 1.0
    clip_norm: float = math.inf
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    seed: int = 0
    step: int = 0  # optimizer steps done; with the weights and the optimizer's state, all that a checkpoint needs
    skipped: int = 0
    scaler: LossScaler = field(default_factory=LossScaler)

    def fit(self, steps: Iterable[Sequence[MicroBatch]]) -> list[float]:
        """One update for each element of `steps`; the training loss of each."""
        # Dropout drops and batch norm measures in train mode only. Forgetting to switch is a classic: the loss looks fine.
        self.model.train()
        return [self.train_step(micro_batches) for micro_batches in steps]

    def train_step(self, micro_batches: Sequence[MicroBatch]) -> float:
        """One update from all these micro-batches; the mean loss over their targets."""
        self.optimizer.zero_grad()
        loss = self._forward_backward(micro_batches)  # 1
        is_finite = self._unscale()  # 2
        norm = self._norm()
        if is_finite and math.isfinite(norm):  # 3
            self._clip(norm)  # 4
            self._set_lr()  # 5
            self.optimizer.step()  # 6
        else:
            self.skipped += 1
        self.step += 1
        return loss

    def _forward_backward(self, micro_batches: Sequence[MicroBatch]) -> float:
        """Gradients of the mean loss over *all* targets of the step, one micro-batch at a time.

        Accumulation works because a gradient is linear: the gradient of a sum is the sum of the gradients, and backward()
        adds to .grad. So a batch that does not fit into memory is computed in pieces, with the same result.

        The usual recipe divides each piece's *mean* by the number of pieces. That is right only when all pieces have equally
        many targets: a shorter last piece, or text with padding, would count too much. Sums are never wrong: add up the losses of
        all targets, and divide by how many there were.
        """
        num_targets = sum(targets.numel() for _, targets in micro_batches)
        total = 0.0
        for index, (inputs, targets) in enumerate(micro_batches):
            # Dropout's draws are a function of the place, so a resumed run draws the same. The real loop does just this.
            rng.seed_all(rng.key(self.seed, rng.FORWARD, self.step, index))
            with self._autocast():
                outputs = self.model(inputs)
            # The loss in fp32: a softmax adds up many small numbers, for which 16 bits have too few digits.
            loss_sum = self.loss(outputs.float(), targets, reduction="sum")
            mean = loss_sum / num_targets
            # Outside of autocast: backward runs each operation in the type that its forward pass had.
            (self.scaler.scaled(mean) if self.precision == "fp16" else mean).backward()  # type: ignore[no-untyped-call]
            # On a GPU .item() waits until everything is computed. Here it is simple; the real loop asks once per log line.
            total += loss_sum.item()
        return total / num_targets

    def _autocast(self) -> torch.autocast:
        """Mixed precision: matrix products in 16 bits, where they are fast; the weights themselves stay in fp32.

        They must: with 8 or 11 binary digits, a weight of 1.0 plus an update of 0.0001 is 1.0, and training stands still.
        """
        return torch.autocast("cpu", dtype=DTYPES[self.precision], enabled=self.precision != "fp32")

    def _unscale(self) -> bool:
        """Whether the gradients are good; always, without a scaler."""
        if self.precision != "fp16":
            return True
        is_finite = self.scaler.unscale(self.model.parameters())
        self.scaler.update(is_finite=is_finite)
        return is_finite

    def _norm(self) -> float:
        """The length of the gradient, all parameters taken as one long vector: √Σg²."""
        squares = [param.grad.double().pow(2).sum() for param in self.model.parameters() if param.grad is not None]
        return float(torch.stack(squares).sum().sqrt())

    def _clip(self, norm: float) -> None:
        """A gradient that is too long is made shorter, and keeps its direction.

        Now and then a batch has a huge gradient (a rare word, a steep wall in the loss of an RNN), and one such step can throw the
        weights far away. All parameters are scaled by the same factor: clipping each by itself would turn the direction.
        """
        if norm > self.clip_norm:
            for param in self.model.parameters():
                if param.grad is not None:
                    param.grad *= self.clip_norm / norm

    def _set_lr(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * self.schedule(self.step)

    @torch.no_grad()  # no graph is kept: less memory, and faster
    def evaluate(self, micro_batches: Iterable[MicroBatch]) -> float:
        """The mean loss over all targets, with dropout off; the model is left in train mode."""
        self.model.eval()
        total, num_targets = 0.0, 0
        for inputs, targets in micro_batches:
            total += self.loss(self.model(inputs), targets, reduction="sum").item()
            num_targets += targets.numel()
        self.model.train()
        return total / num_targets
