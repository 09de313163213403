"""Trains on as many ranks as there are until the test says that it is enough; rank 0 tells of each step."""

import time

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import TensorDataset

import ktrain_trainer as ktrain
from tests.launcher.scripts.marks import FOLDER, RANK, mark

run = ktrain.init()
model = nn.Linear(1, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = run.loader(TensorDataset(torch.ones(1000, 1)), batch=4, epochs=1000)
checkpoint = run.checkpoint(model=run.replicate(model).module, optimizer=optimizer, loader=loader, every="100000step")
checkpoint.restore()


def is_enough() -> bool:
    """As rank 0 sees it."""
    seen = torch.tensor(float((FOLDER / "enough").exists()))
    if dist.is_initialized():
        dist.broadcast(seen, 0)
    return bool(seen)


if RANK == 0:
    mark("did", f"of{run.world_size}")
for (x,) in loader:
    model(x).sum().backward()
    optimizer.step()
    time.sleep(0.02)
    run.report(loss=0.0)
    if RANK == 0:
        mark("did", run._progress.step)
    checkpoint.save_if_due()
    run.stop_if_asked()
    if is_enough():
        break
run.finish()
