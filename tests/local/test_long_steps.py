"""A preemption in the middle of a step that is longer than the grace period."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from ktrain.names import CliExit
from ktrain.records import read_records
from ktrain_trainer.checkpoint import World, init_from
from tests.local.commands import DEADLINE, command, ktrain_run, run_storage, step

pytestmark = pytest.mark.slow

FORWARD = """
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with open("forwards", "a") as file:
            file.write("x")
        __import__("time").sleep(0.4)
        return super().forward(x)
"""
PASSES = 16  # forward passes of a step, of both ranks together
SETS = (
    "--set", "trainer.duration=3step", "--set", "trainer.batch={global: 64, micro: 4}", "--set", "trainer.schedule={name: constant}",
    "--set", "trainer.eval={every: 100step, maxSamples: 4}", "--set", "trainer.checkpoint={every: 100step}", "--set", "preemption.grace=2s",
)  # fmt: skip


def stopped_in_step_3(folder: Path, strategy: str) -> tuple[str, ...]:
    """With what it was started."""
    code = folder / "train.py"
    text = code.read_text(encoding="utf-8").replace("\n\nclass Spirals", f"{FORWARD}\n\nclass Spirals")
    code.write_text(
        text.replace("nn.ReLU(), nn.Dropout", "nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout"), encoding="utf-8"
    )
    assert "BatchNorm" in code.read_text(encoding="utf-8")
    sets = (*SETS, "--set", f"trainer.parallel.strategy={strategy}")
    with subprocess.Popen(
        command(*sets), cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        until = time.monotonic() + DEADLINE
        while not (folder / "forwards").exists() or (folder / "forwards").stat().st_size < 2 * PASSES + 3:
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=DEADLINE)
    assert process.returncode == CliExit.PREEMPTED
    assert "step 3 is given up: it would not end within preemption.grace" in told
    assert step(folder) == 2
    assert [it["step"] for it in read_records(run_storage(folder)).of("stop")] == [2]
    return sets


@pytest.mark.timeout(300)
def test_ranks_that_shard_agree_to_give_it_up_too(folder: Path) -> None:
    stopped_in_step_3(folder, "fsdp2")


@pytest.mark.timeout(300)
def test_what_is_saved_is_the_step_before_to_the_bit(folder: Path) -> None:
    sets = stopped_in_step_3(folder, "ddp")
    assert ktrain_run(folder, *sets).returncode == CliExit.OK
    assert step(folder) == 3
    whole = ktrain_run(folder, *sets, "--set", "storage.url=undisturbed")
    assert whole.returncode == CliExit.OK, whole.stderr
    ours, theirs = (state(f"{folder}/{place}/default/demo") for place in ("runs", "undisturbed"))
    assert any("running_mean" in name for name in ours)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def state(url: str) -> dict[str, torch.Tensor]:
    """Parameters and buffers of the newest checkpoint."""
    net = nn.Sequential(
        nn.Linear(2, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
    )
    init_from(net, url, world=World())
    return dict(net.state_dict())
