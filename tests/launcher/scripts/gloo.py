"""All-reduces for so many steps, with progress in the launcher's socket; one rank kills itself in each of the first starts."""

import os
import signal
import sys
import time

import torch
import torch.distributed as dist

from ktrain import names
from ktrain.snapshot import Sender, Snapshot
from tests.launcher.scripts.marks import RANK, count, mark

kills, steps = int(sys.argv[1]), int(sys.argv[2])
start = count(f"start{RANK}")
mark(f"start{RANK}", os.getpid())
dist.init_process_group("gloo")
sender = Sender(os.environ[names.ENV_SNAPSHOT_SOCKET])
world = dist.get_world_size()
mine = Snapshot(rank=RANK, local_rank=int(os.environ["LOCAL_RANK"]), world_size=world, pid=os.getpid(), phase="train")
for step in range(1, steps + 1):
    total = torch.ones(1)
    dist.all_reduce(total)
    assert total.item() == world
    mine.step, mine.step_counts[0], mine.last_step_at = step, step, time.time()
    mine.checkpoint_step = 100 * start + step
    sender.send(mine)
    if start < kills and step == 3 and start % world == RANK:
        os.kill(os.getpid(), signal.SIGKILL)
mark(f"done{RANK}", start)
dist.destroy_process_group()
sys.stdout.flush()
os._exit(0)
