"""What the checkpoint benchmarks save: a model of DTensors with AdamW's state, and a training step that changes all of it."""

from typing import Any, Final

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

WIDTH: Final = 2048


def build(mib: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Layers of 16 MiB, sharded over the ranks; with both moments of AdamW about `mib` MiB."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    layers = max(round(mib / (3 * WIDTH * WIDTH * 4 / 2**20)), 1)
    model = nn.ParameterDict()
    for number in range(layers):
        full = torch.full((WIDTH, WIDTH), 1.0 + number)
        model[f"layer{number}"] = nn.Parameter(distribute_tensor(full, mesh, [Shard(0)]))
        model[f"bias{number}"] = nn.Parameter(distribute_tensor(full[0].clone(), mesh, [Shard(0)]))
    for parameter in model.values():
        parameter.grad = torch.ones_like(parameter)
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=True)


class Step:
    """Forward and backward for about a tenth of a second, then the update; the ranks meet once in it."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._a = torch.randn(768, 768, generator=torch.Generator().manual_seed(0))
        self._loss = torch.zeros(1)

    def compute(self) -> None:
        """What a forward and a backward pass cost; changes no weights."""
        x = self._a
        for _ in range(8):
            x = torch.tanh(x @ self._a)
        self._loss.fill_(float(x.mean()))
        dist.all_reduce(self._loss)

    def update(self) -> None:
        """AdamW over all of the state."""
        self._optimizer.step()


def checksum(model: nn.Module) -> Any:
    """To compare what was restored."""
    return [float(parameter.to_local().double().sum()) for parameter in model.parameters()]  # type: ignore[operator]
