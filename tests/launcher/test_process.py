"""Ranks cannot outlive whoever started them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ktrain.guard import Guard
from ktrain_launcher.process import ask_for_stacks, rank_command
from tests.launcher.gang import is_alive, kill, until

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
PARENT = """
import subprocess, sys, time
from pathlib import Path
from ktrain_launcher.process import rank_command
program, args = rank_command(Path(sys.argv[1]), sys.argv[2:], cwd=Path.cwd())
print(subprocess.Popen([program, *args], start_new_session=True, stdout=subprocess.DEVNULL).pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the guard alone does it")
def test_the_kernel_kills_a_rank_whose_launcher_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), *SLEEP], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    rank = int(parent.stdout.readline())
    parent.stdout.close()
    until(lambda: b"time.sleep" in Path(f"/proc/{rank}/cmdline").read_bytes())  # the command, no longer child.py
    assert is_alive(rank)
    parent.kill()
    parent.wait()
    until(lambda: not is_alive(rank))


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


def test_a_rank_that_knows_no_stacks_survives_being_asked(tmp_path: Path) -> None:
    script = "import time; print('up', flush=True); time.sleep(0.2); print('done', flush=True)"
    program, args = rank_command(tmp_path, [sys.executable, "-c", script], cwd=tmp_path)
    rank = subprocess.Popen([program, *args], stdout=subprocess.PIPE, text=True)
    assert rank.stdout is not None
    assert rank.stdout.readline() == "up\n"
    ask_for_stacks(rank.pid)
    assert rank.stdout.read() == "done\n"
    rank.stdout.close()
    assert rank.wait() == 0


def test_arguments_reach_a_rank_as_they_are(tmp_path: Path) -> None:
    odd = ["$$", "${local_rank}", "a b", "", "é\n"]
    command = [sys.executable, "-c", "import sys; print(sys.argv[1:])", *odd]
    program, args = rank_command(tmp_path, command, cwd=tmp_path)
    assert subprocess.check_output([program, *args], text=True) == f"{odd}\n"
