"""One rank under torchrun with checkpoints in S3 by torch.distributed.checkpoint: `_goodput_stock.py FOLDER WAY EVERY ENDPOINT`.

WAY is one of checkpoint.py's, with `+prefix` for a process group whose keys are of this attempt alone: without it some restarts hang.
"""

import os
import sys
import time
from datetime import timedelta
from pathlib import Path

import boto3
import torch
import torch.distributed as dist
from _checkpoint_paths import BUCKET, WAYS, Dcp, set_environment
from _goodput_model import Tuned
from _recovery_model import STEP_SECONDS
from _recovery_stock import train
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def main() -> None:
    """Until it is killed."""
    folder, name, every, endpoint = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    set_environment(endpoint)
    torch.set_num_threads(1)
    join(is_prefixed=name.endswith("+prefix"))
    made = Tuned()
    made.net.logs = False
    model = DistributedDataParallel(made)
    optimizer = torch.optim.AdamW([it for it in model.parameters() if it.requires_grad], foreach=True)
    train(model, optimizer)  # the optimizer has its state now
    way = WAYS[name.removesuffix("+prefix")](model, optimizer, endpoint)
    assert isinstance(way, Dcp)
    step = newest(endpoint, way)
    if step:
        way.restore(step)
    made.net.logs = dist.get_rank() == 0
    run(folder, model, optimizer, way, step, every)


def run(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, way: Dcp, step: int, every: int) -> None:
    """A step in a tenth of a second; the next save begins when the one before is durable."""
    is_durable = lambda: True  # noqa: E731
    while True:
        time.sleep(STEP_SECONDS)
        train(model, optimizer)
        step += 1
        if dist.get_rank() == 0:
            with (folder / "did").open("a") as log:
                log.write(f"{time.time()} {os.getpid()} {step}\n")
        if step % every == 0:
            while not is_durable():
                time.sleep(0.001)
            is_durable = way.save(step)


def join(*, is_prefixed: bool) -> None:
    """As torchrun's environment says."""
    if not is_prefixed:
        dist.init_process_group("gloo")
        return
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = dist.TCPStore(
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=timedelta(seconds=60)
    )
    attempt = dist.PrefixStore(f"attempt-{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    dist.init_process_group("gloo", store=attempt, rank=rank, world_size=size)


def newest(endpoint: str, way: Dcp) -> int:
    """The newest step whose metadata is there, which DCP writes last."""
    client = boto3.client("s3", endpoint_url=endpoint)
    prefix = way.prefix
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
    keys = [it["Key"] for page in pages for it in page.get("Contents", ())]
    return max((int(key.split("/")[1]) for key in keys if key.endswith("/.metadata")), default=0)


if __name__ == "__main__":
    main()
