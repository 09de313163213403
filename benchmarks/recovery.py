"""How long until a job steps again after one of its ranks was killed, and how many steps are done twice?

    python benchmarks/recovery.py [--quick] [--kills 50]

Two ranks on this machine, a tiny model, steps of a tenth of a second. `ktrain run` with its default restart policy and
`memoryEvery: 1step`; torchrun with its defaults and any number of restarts, saving each step by torch.distributed.checkpoint
to a local folder. Kills come three to five seconds after the job steps again, of a rank by chance; a job that makes no step for
a minute has hung, and is started again by hand.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from _harness import Row, publish

HERE: Final = Path(__file__).parent
HANG: Final = 60.0  # seconds without a step
GOAL: Final = 2.0  # seconds, 95 of 100 kills
sys.path.insert(0, str(HERE.parent))

from ktrain.records import read_records  # noqa: E402
from ktrain.storage import open_storage  # noqa: E402
from tests.local.processes import children, named  # noqa: E402


@dataclass(frozen=True, slots=True)
class Recovery:
    """After one kill."""

    seconds: float  # until the first new step; infinity: it hung
    lost: int  # steps that had to be done again


class Way:
    """How a job is run."""

    name = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self) -> list[str]:
        """Starts it."""
        raise NotImplementedError

    def ranks(self, pid: int) -> list[int]:
        """Its ranks' processes."""
        raise NotImplementedError

    def begins(self) -> list[int]:
        """The steps that its processes began at, in order."""
        raise NotImplementedError

    def steps(self) -> list[tuple[float, int]]:
        """When each was computed, and by which process, in order."""
        file = self.folder / "steps"
        lines = file.read_text().splitlines() if file.exists() else []
        parts = [line.split() for line in lines]
        return [(float(at), int(pid)) for at, pid in parts]


class Ktrain(Way):
    """`ktrain run`."""

    name = "ktrain"

    def command(self) -> list[str]:
        (self.folder / "job.yaml").write_text(json.dumps(JOB))
        return [sys.executable, "-m", "ktrain", "run", str(self.folder / "job.yaml"), "--quiet"]

    def ranks(self, pid: int) -> list[int]:
        return named(children(pid), "ktrain_trainer")

    def begins(self) -> list[int]:
        (run,) = (self.folder / "runs/default/recovery").glob("*-*-*")
        starts = [it for it in read_records(open_storage(str(run))).all if it["kind"] == "start"]
        return [it["restored_step"] for it in starts]


class Torchrun(Way):
    """Saves each step."""

    name = "torchrun"

    def command(self) -> list[str]:
        script = [str(HERE / "_recovery_stock.py"), str(self.folder), "1"]
        how = ["--standalone", "--nproc-per-node=2", "--max-restarts=1000"]
        return [sys.executable, "-m", "torch.distributed.run", *how, *script]

    def ranks(self, pid: int) -> list[int]:
        return [it for it in children(pid) if b"_recovery_stock.py" in Path(f"/proc/{it}/cmdline").read_bytes()]

    def begins(self) -> list[int]:
        return [int(line) for line in (self.folder / "begun").read_text().split()]


JOB: Final[dict[str, Any]] = {
    "apiVersion": "ktrain.dev/v1",
    "kind": "TrainingJob",
    "metadata": {"name": "recovery"},
    "spec": {
        "procsPerNode": 2,
        "code": {"dir": str(HERE)},
        "storage": {"url": "runs"},
        "trainer": {
            "duration": "1000000step",
            "model": {"use": "_recovery_model:Net"},
            "data": {"train": {"use": "_recovery_model:Points", "args": {"seconds": 0.1 / 16}}},
            "task": {"loss": {"use": "mse"}},
            "batch": {"global": 32, "micro": 16},
            "optim": {"name": "adamw", "lr": 0.001},
            "log": {"every": "1step"},
            "checkpoint": {"every": "10min", "memoryEvery": "1step"},
        },
    },
}


def main() -> None:
    """Interleaved by tens."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--kills", type=int, default=50)
    given = parser.parse_args()
    kills = 5 if given.quick else given.kills
    found: dict[str, list[Recovery]] = {"ktrain": [], "torchrun": []}
    for part in range(0, kills, 10):
        for way in (Ktrain, Torchrun):
            with tempfile.TemporaryDirectory() as folder:
                found[way.name] += measure(way(Path(folder)), min(10, kills - part), seed=part)
            print(f"  {way.name}: {found[way.name][-1]}", file=sys.stderr, flush=True)
    publish("recovery", table(found), note=f"{kills} kills of one of two ranks each, steps of 0.1 s")


def measure(way: Way, kills: int, *, seed: int) -> list[Recovery]:
    """Kills one rank after the other."""
    dice, seconds = random.Random(seed), []
    with running(way) as start:
        process = start()
        assert wait_for_step(way, 0.0), (way.folder / "log").read_text()
        for _ in range(kills):
            time.sleep(dice.uniform(3, 5))
            killed = time.time()
            os.kill(dice.choice(way.ranks(process.pid)), signal.SIGKILL)
            first = wait_for_step(way, killed)
            seconds.append(first - killed if first else float("inf"))
            if first is None:
                process = start()
                wait_for_step(way, time.time())
    return [Recovery(*it) for it in zip(seconds, lost(way), strict=True)]


def lost(way: Way) -> list[int]:
    """Steps that each process but the first did again. Of a killed one the last step may not have been done."""
    steps, begins = way.steps(), way.begins()
    processes = list(dict.fromkeys(pid for _, pid in steps))
    assert len(processes) == len(begins), (len(processes), begins)
    done = [begun + sum(it == pid for _, it in steps) - 1 for pid, begun in zip(processes, begins, strict=True)]
    return [max(0, before - begun) for before, begun in zip(done, begins[1:], strict=False)]


def wait_for_step(way: Way, since: float) -> float | None:
    """When the next process made its first step; None when none comes in time."""
    until = time.monotonic() + HANG
    old = {pid for at, pid in way.steps() if at <= since}
    while time.monotonic() < until:
        new = [at for at, pid in way.steps() if pid not in old]
        if new:
            return new[0]
        time.sleep(0.05)
    return None


@contextmanager
def running(way: Way) -> Iterator[Callable[[], "subprocess.Popen[bytes]"]]:
    """Starts it, and again in place of one that hangs; nothing is left behind."""
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> "subprocess.Popen[bytes]":
        kill_all(processes)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE), "PYTHONWARNINGS": "ignore"}
        environment["RECOVERY_LOG"] = str(way.folder / "steps")
        log = (way.folder / "log").open("ab")
        processes.append(subprocess.Popen(way.command(), cwd=way.folder, env=environment, stdout=log, stderr=log))
        return processes[-1]

    try:
        yield start
    finally:
        kill_all(processes)


def kill_all(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    """With everything below them."""
    for process in processes:
        below = children(process.pid)
        process.kill()
        process.wait()
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def table(found: dict[str, list[Recovery]]) -> list[Row]:
    """Ours beside torchrun's; of those that came back."""
    ours, peer = ([it for it in found[name] if it.seconds < HANG] for name in ("ktrain", "torchrun"))
    kills = len(found["ktrain"])
    middle = [statistics.median(it.seconds for it in part) for part in (ours, peer)]
    late = [sorted(it.seconds for it in part)[max(0, int(0.95 * len(part)) - 1)] for part in (ours, peer)]
    back = [float(len(part)) for part in (ours, peer)]
    lost = [float(max(it.lost for it in part)) for part in (ours, peer)]
    return [
        Row("kill one rank: first new step, median", middle[0], "s", middle[1], "torchrun"),
        Row("kill one rank: first new step, p95", late[0], "s", late[1], "torchrun", f"<= {GOAL:g} s", late[0] <= GOAL),
        Row(
            "kill one rank: steps again by itself",
            back[0],
            "",
            back[1],
            "torchrun",
            f"{kills} of {kills}",
            back[0] == kills,
        ),
        Row("kill one rank: steps lost, at most", lost[0], "", lost[1], "torchrun", "<= 1", lost[0] <= 1),
    ]


if __name__ == "__main__":
    main()
