"""`checkpoint.every: auto` with real ranks: it measures, it follows failures, and it moves no number."""

import os
import signal
from pathlib import Path

import pytest
import torch

from ktrain.names import CliExit
from ktrain.records import read_records
from ktrain_trainer.cadence import FIRST_SECONDS, LEAST_COSTS, LEAST_SECONDS, MOST_COSTS, optimum
from tests.local.commands import DEADLINE, ktrain_run, run_storage, running, step
from tests.local.processes import children, named
from tests.local.test_faults import weights

pytestmark = pytest.mark.slow

STEADY = ("--set", "trainer.schedule={name: constant}", "--set", "trainer.eval.every=1000000step")
AUTO = (*STEADY, "--set", "trainer.checkpoint={every: auto}")
NEVER = (*STEADY, "--set", "trainer.checkpoint={every: 1000000step}")


@pytest.mark.timeout(300)
def test_the_interval_is_of_measured_costs_and_seen_failures_and_the_numbers_are_the_same(folder: Path) -> None:
    code = folder / "train.py"
    quick = code.read_text(encoding="utf-8")
    line = "        return self.points[index]"
    code.write_text(quick.replace(line, f"        __import__('time').sleep(0.001)\n{line}"), encoding="utf-8")
    with running(folder, *AUTO, "--set", "trainer.duration=1000000step") as process:
        os.kill(named(children(process.pid), "ktrain_trainer")[-1], signal.SIGKILL)
        assert process.stderr is not None
        assert any("failures=1" in text for text in process.stderr)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE)
    records = read_records(run_storage(folder))
    start = records.of("start")[0]
    first, *_, last = [it for it in records.of("checkpoint") if "interval_seconds" in it]
    assert first["time"] - start["time"] >= FIRST_SECONDS
    assert (first["failures"], last["failures"]) == (0, 1)
    assert last["mtbf_seconds"] < first["mtbf_seconds"] / 10  # the first one seen has ten times the weight of the prior
    for it in (first, next(it for it in records.of("checkpoint") if it.get("failures") == 1)):
        least = max(LEAST_SECONDS, LEAST_COSTS * it["cost_seconds"], it["seconds"])
        assert it["cost_seconds"] >= it["stall_seconds"]
        most = min(MOST_COSTS * it["cost_seconds"], optimum(it["cost_seconds"], it["mtbf_seconds"]))
        assert it["interval_seconds"] == pytest.approx(max(least, most))

    code.write_text(quick, encoding="utf-8")  # the pause changes no number either
    end = ("--set", f"trainer.duration={step(folder) + 50}step")
    resumed = ktrain_run(folder, *NEVER, *end)
    assert resumed.returncode == CliExit.OK, resumed.stderr
    whole = ktrain_run(folder, *NEVER, *end, "--set", "storage.url=undisturbed")
    assert whole.returncode == CliExit.OK, whole.stderr
    ours, theirs = (weights(f"{folder}/{place}/default/demo") for place in ("runs", "undisturbed"))
    assert all(map(torch.equal, ours, theirs))
