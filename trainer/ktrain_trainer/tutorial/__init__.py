"""A second, teaching version of the trainer: small enough to read in an evening, equal to the real one where they meet.

Read in this order:

1. `groups`, `sgd`, `adamw`: what an optimizer does with a gradient, from the formula to the line of code.
2. `schedule`, `scaler`, `trainer`: the loop; forward, backward, accumulation, clipping, mixed precision, schedule.
3. `batches`, `checkpoint`: the engineering; which samples come when, and how to go on after a stop.

Every file is compared with its real counterpart in tests/tutorial: the optimizers with torch's, the trainer with
ktrain's own loop. None of it is for real work: it updates parameter by parameter where torch's fused kernels update all
of them in one launch, knows one process only, and forgives no mistake. For real work there are `ktrain run` and `fit`.
"""
