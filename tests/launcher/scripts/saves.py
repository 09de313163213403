"""Kills itself in each start; in those that its arguments count, `2`, it has committed before."""

import os
import signal
import sys
import time

from ktrain import names
from ktrain.history import Commit, Token, commit
from ktrain.storage import open_storage
from tests.launcher.scripts.marks import FOLDER, RANK, count, mark

start = count(f"start{RANK}")
mark(f"start{RANK}", os.getpid())
if str(start) in sys.argv[1:]:
    storage = open_storage(str(FOLDER / "runs/default/job" / os.environ[names.ENV_RUN]))
    token = Token(int(os.environ[names.ENV_ATTEMPT]), int(os.environ[names.ENV_EPOCH]))
    made = Commit(start, "manifest.json", "0" * 64, token.attempt, token.epoch, 1, time.time())
    commit(storage, token, made, keep=lambda commits: commits)
os.kill(os.getpid(), signal.SIGKILL)
