"""One rank under torchrun, as its tutorials have it: DDP, a checkpoint by torch.distributed.checkpoint, load the newest at the start.

`_recovery_stock.py FOLDER EVERY`: rank 0 writes down the step that it begins at.
"""

import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from _recovery_model import STEP_SECONDS, Net
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def main() -> None:
    """Until it is killed."""
    folder, every = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    model = DistributedDataParallel(Net())
    model.module.logs = False
    optimizer = torch.optim.AdamW(model.parameters(), foreach=True)
    train(model, optimizer)  # the optimizer has its state now
    step = restore(folder, model, optimizer)
    if rank == 0:
        model.module.logs = True
        with (folder / "begun").open("a") as log:
            log.write(f"{step}\n")
    while True:
        time.sleep(STEP_SECONDS)
        train(model, optimizer)
        step += 1
        if step % every == 0:
            dcp.save(state(model, optimizer), checkpoint_id=folder / f"step-{step:09d}")


def train(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """A step."""
    x = torch.randn(16, 32)
    loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, object]:
    """What is saved."""
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict()}


def restore(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """The newest whole one's step."""
    whole = sorted(it for it in folder.glob("step-*") if (it / ".metadata").exists())
    if not whole:
        return 0
    found = state(model, optimizer)
    dcp.load(found, checkpoint_id=whole[-1])
    model.load_state_dict(found["model"])  # type: ignore[arg-type]
    optimizer.load_state_dict(found["optimizer"])  # type: ignore[arg-type]
    return int(whole[-1].name.partition("-")[2])


if __name__ == "__main__":
    main()
