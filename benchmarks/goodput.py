"""How much of its time does a job train, while faults come that a seed has chosen?

    python benchmarks/goodput.py [--quick] [--faults 20] [--mean 60] [--ways ktrain "dcp s3tc async+prefix"]

Two ranks on this machine, steps of a tenth of a second, 200 MiB of state, SeaweedFS in RAM. Three of four faults kill a rank, one kills the
pod: everything that runs, to be started again at once as an operator would. `ktrain run` with `every: auto` and `memoryEvery: 1step`;
torchrun with any number of restarts and torch.distributed.checkpoint, saving as often as suits what a save costs it. Peers
that make no step for two minutes have hung, and are started again by hand.

Goodput: steps that count at the end, times the median step, over the time that passed.
"""

import argparse
import itertools
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from _harness import Row, publish
from recovery import HERE, JOB, kill_all

from ktrain.chaos.trace import Fault, Kind, trace
from ktrain.history import job_storage, read_head
from ktrain.spec import TrainingJob
from ktrain.storage import scoped
from tests.local.processes import children, named
from tests.seaweed import BUCKET, KEYS, seaweed

HANG: Final = 120.0  # seconds without a step
KINDS: Final = (Kind.RANK_KILL, Kind.RANK_KILL, Kind.RANK_KILL, Kind.POD_KILL)
STOCK: Final = {"dcp s3fs": 150, "dcp s3fs+prefix": 150, "dcp s3tc async": 80, "dcp s3tc async+prefix": 80}
"""Steps between two saves: Daly's estimate from what each costs (results/checkpoint_*.json), in tenths of a second."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one way."""

    goodput: float
    hangs: int
    steps: int


class Way:
    """A job that is started, watched by its file of steps, and struck."""

    def __init__(self, name: str, folder: Path, endpoint: str) -> None:
        self.name, self.folder, self.endpoint = name, folder, endpoint
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """In place of whatever still runs."""
        kill_all(self.processes)
        log = (self.folder / "log").open("ab")
        environment = {
            **os.environ,
            **KEYS,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(HERE),
            "PYTHONWARNINGS": "ignore",
        }
        environment |= {"RECOVERY_LOG": str(self.folder / "steps"), "AWS_DEFAULT_REGION": "us-east-1"}
        self.processes.append(
            subprocess.Popen(self.command(), cwd=self.folder, env=environment, stdout=log, stderr=log)
        )

    def command(self) -> list[str]:
        """Starts it."""
        script = [str(HERE / "_goodput_stock.py"), str(self.folder), self.name, str(STOCK[self.name]), self.endpoint]
        how = ["--standalone", "--nproc-per-node=2", "--max-restarts=1000"]
        return [sys.executable, "-m", "torch.distributed.run", *how, *script]

    def ranks(self) -> list[int]:
        """Its ranks' processes."""
        mine = children(self.processes[-1].pid)
        return [
            it
            for it in mine
            if b"_goodput_stock.py" in _command_line(it) and b"distributed.run" not in _command_line(it)
        ]

    def kill_pod(self) -> None:
        """And the operator makes it again."""
        self.start()

    def end(self) -> int:
        """The last step that counts."""
        kill_all(self.processes)
        lines = (self.folder / "did").read_text().splitlines()
        return int(lines[-1].split()[2]) if lines else 0

    def times(self) -> list[tuple[float, int]]:
        """When steps were computed, and by which process."""
        file = self.folder / "steps"
        parts = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        return [(float(at), int(pid)) for at, pid in parts]


class Ktrain(Way):
    """`ktrain run`, which is the operator too."""

    def command(self) -> list[str]:
        (self.folder / "job.yaml").write_text(self.job().model_dump_json(by_alias=True))
        return [sys.executable, "-m", "ktrain", "run", str(self.folder / "job.yaml"), "--quiet"]

    def job(self) -> TrainingJob:
        """recovery.py's, with its state in S3."""
        spec: dict[str, Any] = {**JOB["spec"], "storage": {"url": f"s3://{BUCKET}/runs", "endpoint": self.endpoint}}
        spec["restart"] = {"max": 1000, "inPlace": 1000}
        spec["trainer"] = {
            **spec["trainer"],
            "model": {"use": "_goodput_model:Tuned"},
            "log": {"every": "100step"},
            "checkpoint": {"every": "auto", "memoryEvery": "1step"},
        }
        return TrainingJob.model_validate({**JOB, "spec": spec})

    def ranks(self) -> list[int]:
        return named(children(self.processes[-1].pid), "ktrain_trainer")

    def kill_pod(self) -> None:
        for pid in named(children(self.processes[-1].pid), "ktrain_launcher"):
            os.kill(pid, signal.SIGKILL)

    def end(self) -> int:
        self.processes[-1].send_signal(signal.SIGTERM)
        self.processes[-1].wait(120)
        os.environ.update(KEYS)
        there = job_storage(self.job())
        (run,) = (it for it in there.folders() if "-" in it)
        head = read_head(scoped(there, run))
        return head.newest.step if head and head.newest else 0


def main() -> None:
    """One way after the other, under the same faults."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--mean", type=float, default=60.0)
    parser.add_argument("--ways", nargs="*", default=["ktrain", *STOCK], choices=["ktrain", *STOCK])
    given = parser.parse_args()
    count, mean = (3, 10.0) if given.quick else (given.faults, given.mean)
    faults = trace(1, count=count, mean_seconds=mean, kinds=KINDS)
    found = {}
    for name in given.ways:
        with tempfile.TemporaryDirectory() as folder, seaweed(volume_mib=1024) as server:
            way = (Ktrain if name == "ktrain" else Way)(name, Path(folder), server.endpoint)
            found[name] = suffer(way, faults, rest=mean / 2)
        print(f"  {name}: {found[name]}", file=sys.stderr, flush=True)
    note = f"{count} faults, {mean:g} s between two on average, steps of 0.1 s, 200 MiB, two ranks"
    publish("goodput", table(found), note=note)


def suffer(way: Way, faults: tuple[Fault, ...], *, rest: float) -> Outcome:
    """From the first step through all faults, and half of their mean time more."""
    hangs = 0
    with running(way):
        begun = wait(way, 0)
        assert begun, (way.folder / "log").read_text()[-3000:]
        ends = [*(it.at for it in faults), faults[-1].at + rest]
        for fault, end in itertools.zip_longest([None, *faults], ends):
            if fault is not None:
                strike(way, fault)
            hangs += rest_until(way, begun + end)
        ended = time.time()
        steps = way.end()
    return Outcome(steps * median_step(way) / (ended - begun), hangs, steps)


def strike(way: Way, fault: Fault) -> None:
    """Whoever is there; of a job that is just being started again, nobody."""
    if fault.kind is Kind.POD_KILL:
        way.kill_pod()
    elif ranks := way.ranks():
        os.kill(random.Random(fault.draw).choice(ranks), signal.SIGKILL)


def rest_until(way: Way, end: float) -> int:
    """How often it hung meanwhile."""
    hangs, since = 0, time.time()
    while time.time() < end:
        last = max([since, *(at for at, _ in way.times()[-1:])])
        if time.time() - last > HANG:
            hangs, since = hangs + 1, time.time()
            way.start()
        time.sleep(0.05)
    return hangs


def wait(way: Way, count: int) -> float:
    """When the first step after so many was made; 0 when none came."""
    until = time.time() + HANG
    while time.time() < until:
        if len(times := way.times()) > count:
            return times[count][0]
        time.sleep(0.05)
    return 0.0


def median_step(way: Way) -> float:
    """Between two steps of one process; Seconds."""
    return statistics.median(b[0] - a[0] for a, b in itertools.pairwise(way.times()) if a[1] == b[1])


def table(found: dict[str, Outcome]) -> list[Row]:
    """Ours beside each; more is better."""
    ours = 100 * found["ktrain"].goodput
    best = max((it.goodput for name, it in found.items() if name != "ktrain"), default=0.0)
    rows = [Row("goodput", ours, "%", goal=">= 90 %", holds=ours >= 90)]
    for name, it in found.items():
        if name != "ktrain":
            is_best = it.goodput == best
            goal = (">= 1.3x the best", ours >= 130 * best) if is_best else ("", None)
            rows.append(Row(f"goodput; {it.hangs} hangs there", ours, "%", 100 * it.goodput, name, *goal))
    return rows


@contextmanager
def running(way: Way) -> Iterator[None]:
    """Nothing is left behind."""
    try:
        way.start()
        yield
    finally:
        kill_all(way.processes)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    main()
