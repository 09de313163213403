"""What does it take to start a rank: a fork of the warm interpreter, beside a fresh interpreter as torchrun starts one."""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _harness import Row, publish

from ktrain_launcher.nursery import Child, Command, Nursery

NUM_RANKS = 2
PROGRAM = """
import resource, sys, time
import ktrain_trainer.worker
used = resource.getrusage(resource.RUSAGE_SELF)
with open(sys.argv[1], "a") as file: print(time.monotonic(), used.ru_utime + used.ru_stime, file=file)
time.sleep(600)
"""


def main() -> None:
    """Interleaved; medians of `rounds`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    rounds = 3 if parser.parse_args().quick else 15
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
        nursery = Nursery(Command([sys.executable, "program.py", "up"], folder), os.environ, ["ktrain_trainer.worker"])
        while not nursery.is_ready():
            time.sleep(0.05)
        found = [(forked(nursery, folder), fresh(folder)) for _ in range(rounds)]
        nursery.close()
    median = [[statistics.median(it[kind][part] for it in found) for part in range(3)] for kind in range(2)]
    peer = "a fresh interpreter"
    publish(
        "rank_start",
        [
            Row("from the start until torch and the trainer are there", median[0][0], "ms", median[1][0], peer),
            Row("CPU time of each rank until then", median[0][1], "ms", median[1][1], peer),
            Row(f"memory of {NUM_RANKS} ranks (PSS)", median[0][2], "MiB", median[1][2], peer),
        ],
        note=f"{NUM_RANKS} ranks at once, median of {rounds}, interleaved, one thread; the warm interpreter's own pages are counted where it shares them",
    )


def forked(nursery: Nursery, folder: Path) -> tuple[float, float, float]:
    """Milliseconds, CPU milliseconds, MiB."""
    begun = time.monotonic()
    children: list[Child] = [nursery.start(os.environ, folder / "out", folder / "err") for _ in range(NUM_RANKS)]
    figures = _figures(folder, begun, [child.pid for child in children])
    for child in children:
        os.kill(child.pid, 9)
        child.wait(10)
        child.bury()
    return figures


def fresh(folder: Path) -> tuple[float, float, float]:
    """The same, started from nothing."""
    begun = time.monotonic()
    children = [subprocess.Popen([sys.executable, "program.py", "up"], cwd=folder) for _ in range(NUM_RANKS)]
    figures = _figures(folder, begun, [child.pid for child in children])
    for each in children:
        each.kill()
        each.wait()
    return figures


def _figures(folder: Path, begun: float, pids: list[int]) -> tuple[float, float, float]:
    up = folder / "up"
    while not up.exists() or len(up.read_text().splitlines()) < NUM_RANKS:
        time.sleep(0.001)
    marks = [[float(word) for word in line.split()] for line in up.read_text().splitlines()]
    up.unlink()
    memory = sum(_pss(pid) for pid in pids)
    return 1000 * (max(at for at, _ in marks) - begun), 1000 * statistics.mean(cpu for _, cpu in marks), memory


def _pss(pid: int) -> float:
    """MiB; shared pages count in proportion."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


if __name__ == "__main__":
    main()
