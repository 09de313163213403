"""The same script with ktrain: `ktrain run job.yaml`. Kill it at any moment; its losses go on bit for bit."""

import os

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset

import ktrain_trainer as ktrain

run = ktrain.init()

inputs = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0))
dataset = TensorDataset(inputs, inputs.square().sum(1, keepdim=True))

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 1))
replica = run.replicate(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

loader = run.loader(dataset, batch=60, epochs=int(os.environ.get("EPOCHS", "4")))
checkpoint = run.checkpoint(model=model, optimizer=optimizer, loader=loader, every="20step")
checkpoint.restore()
for x, y in loader:
    loss = F.mse_loss(replica(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if run.rank == 0:
        print(f"loss {loss.item():.9g}", flush=True)
    checkpoint.save_if_due()
    run.stop_if_asked()

run.finish()
