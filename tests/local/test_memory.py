"""A rank that crashes goes on from its launcher's memory."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
import torch

from ktrain.names import CliExit
from ktrain.records import read_records
from tests.local.commands import DEADLINE, command, ktrain_run, run_storage, step
from tests.local.processes import children, named
from tests.local.test_faults import weights

pytestmark = pytest.mark.slow

STEADY = ("--set", "trainer.schedule={name: constant}", "--set", "trainer.eval.every=1000000step")
STEPS, KILLS = 500, 3
PROGRESS = re.compile(r"ktrain: step (\d+)/")
NO_STORAGE = (*STEADY, "--set", f"trainer.duration={STEPS}step")


@pytest.mark.timeout(300)
def test_a_crashed_rank_loses_a_step_at_most_and_the_end_is_the_same_to_the_bit(folder: Path) -> None:
    """No checkpoint but what memory makes up for: killed three times, each time another rank."""
    code = folder / "train.py"
    line = "        return self.points[index]"
    quick = code.read_text(encoding="utf-8")
    code.write_text(quick.replace(line, f"        __import__('time').sleep(0.001)\n{line}"), encoding="utf-8")
    memory = "trainer.checkpoint={every: 1000000step, memoryEvery: 1step}"
    seen: list[int] = []  # the step that was told before each kill
    with subprocess.Popen(
        command(*NO_STORAGE, "--set", memory), cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            told = PROGRESS.match(line)
            if told and len(seen) < KILLS and int(told[1]) > max(seen, default=0):
                ranks = named(children(process.pid), "ktrain_trainer")
                os.kill(ranks[len(seen) % len(ranks)], signal.SIGKILL)
                seen.append(int(told[1]))
        process.wait(DEADLINE)
    assert process.returncode == CliExit.OK
    assert len(seen) == KILLS
    starts = read_records(run_storage(folder)).of("start")
    assert [it.get("restored_from") for it in starts] == [None, *["memory"] * KILLS]
    assert all(it["restored_step"] >= last for it, last in zip(starts[1:], seen, strict=True))
    assert step(folder) == STEPS
    code.write_text(quick, encoding="utf-8")  # the pause changes no number
    whole = ktrain_run(folder, *NO_STORAGE, "--set", "storage.url=undisturbed")
    assert whole.returncode == CliExit.OK, whole.stderr
    ours, theirs = (weights(f"{folder}/{place}/default/demo") for place in ("runs", "undisturbed"))
    assert all(map(torch.equal, ours, theirs))
