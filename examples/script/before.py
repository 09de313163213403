"""A plain DDP script: `torchrun --nproc-per-node 2 before.py`."""

import os

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

dist.init_process_group("gloo")
rank, world_size = dist.get_rank(), dist.get_world_size()

inputs = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0))
dataset = TensorDataset(inputs, inputs.square().sum(1, keepdim=True))

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 1))
replica = DistributedDataParallel(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

sampler = DistributedSampler(dataset)
loader = DataLoader(dataset, batch_size=60 // world_size, sampler=sampler)
for epoch in range(int(os.environ.get("EPOCHS", "4"))):
    sampler.set_epoch(epoch)
    for x, y in loader:
        loss = F.mse_loss(replica(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if rank == 0:
            print(f"loss {loss.item():.9g}", flush=True)

dist.destroy_process_group()
