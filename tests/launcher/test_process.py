"""What the guard ends, and what it leaves."""

import os
import signal
import subprocess
import sys

from ktrain.guard import Guard
from tests.launcher.gang import is_alive, kill, until

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_the_guard_kills_the_groups_it_was_told_of_and_no_others() -> None:
    kept = subprocess.Popen(SLEEP, start_new_session=True)
    ended = subprocess.Popen(SLEEP, start_new_session=True)
    guard = Guard()
    guard.add(kept.pid)
    guard.add(ended.pid)
    guard.remove(kept.pid)
    guard.close()
    try:
        assert ended.wait() == -signal.SIGKILL
        assert kept.poll() is None
    finally:
        kept.kill()
        kept.wait()


def test_a_guard_ignores_what_is_meant_for_the_launcher() -> None:
    rank = subprocess.Popen(SLEEP, start_new_session=True)
    guard = Guard()
    guard.add(rank.pid)
    kill(guard.pid, signal.SIGTERM)
    kill(guard.pid, signal.SIGINT)
    guard.close()
    assert rank.wait() == -signal.SIGKILL


def test_a_guard_that_is_gone_stops_nothing() -> None:
    guard = Guard()
    kill(guard.pid)
    until(lambda: not is_alive(guard.pid))
    guard.add(os.getpid())
    guard.close()
