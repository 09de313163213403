"""On SIGTERM, as its argument for this rank says: leaves with that code, or ignores it; starts a helper like a data loader's."""

import os
import signal
import subprocess
import sys
import time

from tests.launcher.scripts.marks import FOLDER, RANK, count, mark

mine = sys.argv[1:][RANK]
start = count(f"start{RANK}")
asked: list[int] = []
signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
agreed = FOLDER / "agreed"
mark("helpers", helper.pid)
mark(f"start{RANK}", os.getpid())
while start == 0 and (mine == "ignore" or not (asked or agreed.exists())):
    time.sleep(0.02)
if start == 0 and asked:
    agreed.touch()
    time.sleep(0.3)  # a second signal would be counted
    mark(f"asked{RANK}", len(asked))
    mark(f"helper{RANK}", helper.poll())
    sys.exit(int(mine))
sys.exit(203 if start == 0 else 0)
