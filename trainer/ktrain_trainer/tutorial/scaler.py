"""Loss scaling, from scratch: why 16-bit gradients vanish, and what to do about it.

fp16 has 5 bits of exponent: its smallest number above zero is 6e-8, its largest 65504. Many gradients are smaller than 6e-8, and
become zero: these weights are not trained any more, and nothing tells you. The remedy (Micikevicius et al. 2018): multiply the
loss by a large number S before backward(). By the chain rule every gradient is S times larger, and none is lost. Before the
optimizer sees them, divide by S again, in fp32, where small numbers are no trouble.

Which S? As large as possible, but such that nothing overflows. Nobody knows in advance, so try: when a gradient is infinite, S was
too large; forget this step and halve S. When nothing has overflowed for a long time, double S. A skipped step every two
thousand costs nothing.

bf16 has fp32's 8 bits of exponent and therefore needs none of this (it has fewer digits instead, 8 bits against 11). On hardware
that has bf16, use bf16.
"""

from collections.abc import Iterable

import torch
from torch import nn


class LossScaler:
    """Equal to torch.amp.GradScaler (tests/tutorial)."""

    def __init__(self, scale: float = 2.0**16, *, growth_interval: int = 2000) -> None:
        self.scale = scale
        self.growth_interval = growth_interval
        self.good_steps = 0  # since the scale was last changed

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """What to call backward() on."""
        return loss * self.scale

    def unscale(self, params: Iterable[nn.Parameter]) -> bool:
        """Divides the gradients by the scale, in place; whether all of them are finite.

        This comes *before* clipping: the norm of scaled gradients means nothing.
        """
        grads = [param.grad for param in params if param.grad is not None]
        for grad in grads:
            grad /= self.scale
        return all(bool(grad.isfinite().all()) for grad in grads)

    def update(self, *, is_finite: bool) -> None:
        """After each step, also a skipped one. Powers of two only: they change exponents, and round nothing."""
        if not is_finite:
            self.scale /= 2
            self.good_steps = 0
            return
        self.good_steps += 1
        if self.good_steps == self.growth_interval:
            self.scale *= 2
            self.good_steps = 0
