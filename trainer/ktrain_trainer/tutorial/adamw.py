"""AdamW from scratch: Adam (Kingma, Ba 2015) with decoupled weight decay (Loshchilov, Hutter 2019).

SGD moves every parameter by the same rate times its gradient. But gradients of different parameters differ by orders of
magnitude: an embedding of a rare word sees a gradient once in a hundred steps, the last bias sees a large one in each. A rate
that is right for one is wrong for the other. Adam gives each parameter a step of about the *same length*, lr, by dividing its
gradient by the gradient's own usual size.

**First moment**: the usual gradient. A running mean, as SGD's velocity, but weighted so that the weights add up to 1:

    m ← β1 · m + (1 - β1) · g                                                        (1)

**Second moment**: the usual *squared* gradient. Its root is the gradient's usual size:

    v ← β2 · v + (1 - β2) · g²                                                       (2)

β1 = 0.9 remembers about 10 steps, β2 = 0.999 about 1000: the direction may turn quickly, the scale should be steady.

**Bias correction**: m and v begin at zero, so they are too small at first. How much too small? Suppose that all gradients are
the same g. Unrolling (1) from m = 0 gives after t steps

    m_t = (1 - β1) · g · (1 + β1 + … + β1^(t-1)) = (1 - β1^t) · g

by the sum of a geometric series. So dividing by (1 - β1^t) gives exactly g. With changing gradients the same holds for the
expected value. After one step the factor is 1 / 0.1 for m, and 1 / 0.001 for v: without correction the first step would be
0.1 / √0.001 ≈ 3.2 times too long. Later, β^t vanishes and the correction with it.

    m̂ = m / (1 - β1^t)                                                               (3)
    v̂ = v / (1 - β2^t)                                                               (4)

**The step**: direction over size. ε keeps a parameter that has never had a gradient from dividing by zero:

    w ← w - lr · m̂ / (√v̂ + ε)                                                        (5)

In the first step m̂ = g and √v̂ = |g|: each parameter moves by lr, whatever its gradient's size. Later |m̂| ≤ √v̂ roughly: as far
as lr where the gradients agree, less where they contradict each other. So lr is a length, which is why Adam's rates carry over
from model to model better than SGD's. It also says why warm-up helps: v̂ of the first steps is a mean over very few squares, so
some parameters go the full length in a direction that was noise.

**Decoupled weight decay**: in SGD, decay may be added to the gradient (sgd.py, formula 4). Here, it would then be divided by √v̂
as well: a parameter with large gradients would hardly decay, one with small gradients would decay a lot. That is nobody's
intention. So AdamW shrinks the weights by themselves, beside the gradient:

    w ← w - lr · wd · w                                                              (6)

It is multiplied by lr, so the schedule of the rate acts on it too.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from ktrain_trainer.tutorial.groups import Group, OptimizerFromScratch


class AdamWFromScratch(OptimizerFromScratch):
    """Equal to torch.optim.AdamW (tests/tutorial)."""

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[Group],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr=lr, beta1=betas[0], beta2=betas[1], eps=eps, weight_decay=weight_decay)

    def update(self, param: torch.Tensor, grad: torch.Tensor, state: dict[str, Any], group: Mapping[str, Any]) -> None:
        """Formulas (1) to (6)."""
        lr, beta1, beta2 = group["lr"], group["beta1"], group["beta2"]
        if not state:
            # Two more tensors of the parameter's size: Adam's state is twice the model. t counts *this* parameter's updates:
            # one that is thawed later has its own first step.
            state.update(t=0, m=torch.zeros_like(param), v=torch.zeros_like(param))
        state["t"] += 1

        param *= 1 - lr * group["weight_decay"]  # (6): first, on the weights as they were

        state["m"] = beta1 * state["m"] + (1 - beta1) * grad  # (1)
        state["v"] = beta2 * state["v"] + (1 - beta2) * grad**2  # (2)
        m_hat = state["m"] / (1 - beta1 ** state["t"])  # (3)
        v_hat = state["v"] / (1 - beta2 ** state["t"])  # (4)

        param -= lr * m_hat / (v_hat.sqrt() + group["eps"])  # (5)
