"""Where the time of a real run went: its parts make up the wall time that the test's own clock has seen."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ktrain.goodput import PRODUCTIVE, Account, accounts
from tests.local.commands import DEADLINE, LONG, run_storage, running
from tests.local.processes import children, named

pytestmark = pytest.mark.slow
COMMITS = 30
START_SECONDS = 3.0  # of Python and the job's checks, before and after


def kill(process: "subprocess.Popen[str]", program: str) -> None:
    """One of the run's processes, after some seconds of work; returns when training goes on without it."""
    assert process.stderr is not None
    for _ in range(COMMITS):
        assert any("committed=True" in line for line in process.stderr)
    os.kill(named(children(process.pid), program)[0], signal.SIGKILL)
    assert any(re.search(r"restored_step=\d+", line) for line in process.stderr)
    assert any("committed=True" in line for line in process.stderr)


def spent(folder: Path) -> Account:
    """Of the one job that has worked on the run, as its last launcher left it."""
    (account,) = accounts(run_storage(folder))
    assert sum(account.seconds.values()) + account.pending.seconds == pytest.approx(account.wall, rel=0.001)
    return account


@pytest.mark.parametrize("victim", ["ktrain_trainer", "ktrain_launcher"])
def test_all_of_the_time_is_told(victim: str, folder: Path) -> None:
    """A rank is killed and replaced in place, or the launcher with all that it knew."""
    began = time.time()
    with running(folder, *LONG) as process:
        kill(process, victim)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE)
        wall = time.time() - began
    account = spent(folder)
    assert account.is_closed
    assert wall - START_SECONDS < account.wall < wall
    assert account.pending.seconds == pytest.approx(0, abs=0.05)  # the last step was committed
    assert 0 < account.seconds[PRODUCTIVE] < wall
    assert account.seconds["start"] > 1
    assert account.seconds["lost_work"] > 0
    assert account.seconds["queue"] > (0.1 if victim == "ktrain_launcher" else 0)
    assert not {"hang", "scale"} & {name for name, seconds in account.seconds.items() if seconds}
