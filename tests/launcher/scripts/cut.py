"""Commits once, leaves the objects of a save that was cut short, and ends with the code that its argument says."""

import os
import sys
import time

from ktrain import names
from ktrain.history import Commit, Token, commit
from ktrain.storage import open_storage
from tests.launcher.scripts.marks import FOLDER

storage = open_storage(str(FOLDER / "runs/default/job" / os.environ[names.ENV_RUN]))
token = Token(int(os.environ[names.ENV_ATTEMPT]), int(os.environ[names.ENV_EPOCH]))
for step in (1, 2):
    storage.put(f"{token.prefix}/step-{step:09d}/0000-0000.bin", b"bytes")
made = Commit(1, f"{token.prefix}/step-{1:09d}/manifest.json", "0" * 64, token.attempt, token.epoch, 1, time.time())
commit(storage, token, made, keep=lambda commits: commits)
sys.exit(int(sys.argv[1]))
