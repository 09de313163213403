"""Which samples come when: the same batches for the same seed, whoever asks.

Three sizes, often confused:

- **global batch**: how many samples make one update. It belongs to the mathematics: change it, and you train differently.
- **micro-batch**: how many samples go through the model at once. It belongs to the machine: as many as fit into its memory.
- their quotient: how often gradients are accumulated before an update (and shared among ranks, when there are several).

The order is a function of the seed and the epoch, and the epoch follows from the position; so "sample 12,800" is all that a
checkpoint has to remember of the data. This is the real plan (ktrain_trainer.plan), used as it is.
"""

from collections.abc import Iterator

import torch

from ktrain_trainer.data import Source
from ktrain_trainer.plan import Cut, Stream

MicroBatch = tuple[torch.Tensor, torch.Tensor]  # inputs (micro, …), targets (micro, …)


def steps(
    data: Source, *, global_batch: int, micro: int, num_steps: int, seed: int, done: int = 0
) -> Iterator[list[MicroBatch]]:
    """The micro-batches of each step from step `done` on; an epoch may end in the middle of a step.

    data[index] is a pair (input, target) of tensors.
    """
    stream = Stream(len(data), seed=seed, shuffle=True)
    cut = Cut(micro, rank=0, world_size=1)
    for step in range(done, num_steps):
        begin = step * global_batch
        yield [_collate(data, micro_.samples) for micro_ in cut.each(stream, begin, begin + global_batch)]


def _collate(data: Source, samples: tuple[int, ...]) -> MicroBatch:
    pairs = [data[sample] for sample in samples]
    return torch.stack([pair[0] for pair in pairs]), torch.stack([pair[1] for pair in pairs])
