"""Your own training loop. What ktrain adds is marked; `ktrain run job.yaml` starts it, kill it and start it again."""

import ktrain_trainer as ktrain  # +
import torch
import torch.nn.functional as F
from torch import nn

run = ktrain.init()  # + joins the ranks; on a signal, should_stop() will tell

noise = torch.Generator().manual_seed(0)
inputs = torch.randn(2000, 8, generator=noise)
dataset = torch.utils.data.TensorDataset(inputs, inputs.square().sum(1, keepdim=True))

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 1)).to(run.device)
replica = run.replicate(model)  # + for DistributedDataParallel(model): the same gradients, exact at any number of ranks
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

loader = run.loader(dataset, batch=64, epochs=10)  # + this rank's share, in an order that survives restarts
checkpoint = run.checkpoint(model=model, optimizer=optimizer, loader=loader, every="50step")  # +
checkpoint.restore()  # + the newest commit, if there is one

for x, y in loader:
    loss = F.mse_loss(replica(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    run.report(loss=loss.item())  # +
    checkpoint.save_if_due()  # +
    run.stop_if_asked()  # + saves and leaves, at a step that all ranks agree on

run.finish()  # +
