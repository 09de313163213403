"""Which modules of torch a first step imports that the warm interpreter has not."""

import sys

import torch

import ktrain_trainer as ktrain
from tests.launcher.scripts.marks import RANK, mark

before = set(sys.modules)
run = ktrain.init()
model = torch.nn.Linear(1, 1)
optimizer = torch.optim.AdamW(run.replicate(model).module.parameters())
checkpoint = run.checkpoint(model=model, optimizer=optimizer)
checkpoint.restore()
model(torch.ones(1, 1)).sum().backward()
optimizer.step()
checkpoint.save(wait=True)
mark(f"imported{RANK}", "-".join(sorted(set(sys.modules) - before)) or "nothing")
run.finish()
