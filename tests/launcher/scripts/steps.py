"""Reports steps and then hangs in its first start; the second one ends well."""

import faulthandler
import os
import signal
import time

from ktrain import names
from ktrain.snapshot import Sender, Snapshot
from tests.launcher.scripts.marks import RANK, count, mark

start = count(f"start{RANK}")
mark(f"start{RANK}", os.getpid())
faulthandler.register(signal.SIGUSR1)
sender = Sender(os.environ[names.ENV_SNAPSHOT_SOCKET])
mine = Snapshot(rank=RANK, local_rank=RANK, world_size=1, pid=os.getpid(), phase="train", checkpoint_step=2)


def hang_here() -> None:
    """Its name is in the stacks."""
    while True:
        sender.send(mine)  # alive, but without a step
        time.sleep(0.05)


for step in range(1, 4):
    mine.step, mine.step_counts[0] = step, step
    sender.send(mine)
    time.sleep(0.05)
if start == 0:
    hang_here()
os._exit(0)  # on a busy machine the interpreter's farewell may take longer than the limit of the test
