"""Ends as its arguments say, one word per start: a code, `kill`, `abort` or `wait`; `0:70` is for rank 0 only."""

import os
import signal
import sys
import time

from tests.launcher.scripts.marks import RANK, count, mark

mine = [
    word.partition(":")[2] if ":" in word else word
    for word in sys.argv[1:]
    if word.partition(":")[0] in {str(RANK), word}
]
start = count(f"start{RANK}")
mark(f"start{RANK}", os.getpid())
sys.stdout.write(f"rank {RANK} start {start}\n")
word = mine[min(start, len(mine) - 1)]
if word == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if word == "abort":
    os.abort()
if word == "wait":
    time.sleep(600)
if word == "raise":
    raise RuntimeError("this script is broken")
sys.exit(int(word))
