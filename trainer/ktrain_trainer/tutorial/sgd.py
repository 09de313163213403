"""Stochastic gradient descent with momentum, from scratch.

The gradient g of the loss at the weights w points to where the loss grows fastest. So go a little the other way:

    w ← w - lr · g                                                                   (1)

g comes from a few samples only, so it is noisy: its direction is right on average, and wrong in every single step. In a
narrow valley it is worse: the gradient points across, from wall to wall, and hardly along the valley, where we want to go.
Momentum helps with both. Keep a velocity v, a running sum of gradients that forgets a share (1 - μ) of itself in each step,
and follow the velocity instead of the gradient:

    v ← μ · v + g                                                                    (2)
    w ← w - lr · v                                                                   (3)

What points the same way in every step adds up, to at most 1 + μ + μ² + … = 1 / (1 - μ) times a single gradient: ten times
with μ = 0.9. What points now here, now there (noise, walls of the valley) cancels. That factor is why a rate that works
without momentum is about ten times too high with it.

Weight decay: a penalty (wd / 2) · |w|² added to the loss has the gradient wd · w, so it is enough to add that:

    g ← g + wd · w                                                                   (4)

This is *coupled* decay: the penalty goes through the velocity like every other gradient. For SGD that is harmless. For Adam
it is not; see adamw.py.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from ktrain_trainer.tutorial.groups import Group, OptimizerFromScratch


class SGDFromScratch(OptimizerFromScratch):
    """Equal to torch.optim.SGD (tests/tutorial)."""

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[Group],
        lr: float = 1e-3,
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay)

    def update(self, param: torch.Tensor, grad: torch.Tensor, state: dict[str, Any], group: Mapping[str, Any]) -> None:
        """Formulas (2) to (4); without momentum formula (1)."""
        grad = grad + group["weight_decay"] * param  # (4); a new tensor: .grad itself is left as it was

        # The velocity begins as the first gradient, not as zero: there is nothing to remember yet.
        velocity = group["momentum"] * state["velocity"] + grad if "velocity" in state else grad  # (2)
        if group["momentum"]:
            state["velocity"] = velocity

        param -= group["lr"] * velocity  # (3)
