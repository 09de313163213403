"""The learning rate over the run, as a function of how much is done.

Far from a minimum, large steps get there sooner. Near it, large steps jump over it, again and again: the noise of the gradient
keeps the weights at a distance that grows with the rate. So begin high and end low. At the very beginning, however, the weights
are random, gradients are large and Adam's second moments are means over nothing: a full-sized step there can spoil what later
steps have to mend. So begin with a short rise, the warm-up.

A schedule that is a *function* has nothing to store: whoever knows the step knows the rate. A schedule that is an object with a
counter (torch's lr_scheduler) has to be saved and restored with everything else, or a resumed run has the wrong rate.
"""

import math


def warmup_cosine(step: int, *, warmup: int, total: int, min_ratio: float = 0.0) -> float:
    """The factor of the base rate in this step (counted from 0): a straight rise, then half a cosine down to min_ratio.

    The first step has 1/warmup of the rate and not 0: a step of length nothing would be wasted.
    """
    if step < warmup:
        return (step + 1) / warmup
    share = min(1.0, (step - warmup) / (total - warmup))  # of the way down: 0 at its beginning, 1 at its end
    return min_ratio + (1 - min_ratio) * (1 + math.cos(math.pi * share)) / 2


def step_decay(step: int, *, every: int, gamma: float = 0.1) -> float:
    """A tenth of the rate after every so many steps: how ResNets were trained (He et al. 2016)."""
    return float(gamma ** (step // every))
