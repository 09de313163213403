"""Saves step 5 while storage hangs and is killed; the second time it says what it finds, and comes to its end."""

import os
import signal
import threading
from typing import Any

import torch
from torch import nn

import ktrain_trainer as ktrain
from tests.launcher.scripts.marks import RANK, count, mark

start = count(f"start{RANK}")
mark(f"start{RANK}", os.getpid())
run = ktrain.init()
model = nn.Linear(1, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
checkpoint = run.checkpoint(model=run.replicate(model).module, optimizer=optimizer, every="100000step")
other = run.checkpoint(model=nn.Linear(2, 2), every="100000step")  # one that must not write into the first one's memory
checkpoint.restore()
mark(f"restored{RANK}", run._progress.step)
mark(f"weight{RANK}", model.weight.item())
if start == 0:
    for _ in range(5):
        with torch.no_grad():
            model.weight.fill_(7.0)
        run.report(loss=0.0)
        run._progress.step += 1
    saver: Any = checkpoint._checkpointer
    saver._storage.create = lambda *_: threading.Event().wait()
    checkpoint.save()
    saver._stager.settle()
    if run.world_size > 1:
        torch.distributed.barrier()
    os.kill(os.getpid(), signal.SIGKILL)
run._checkpoints.remove(other)
run.finish()
