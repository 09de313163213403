"""What does a pod cost until its ranks have met: our launcher beside torchrun, two ranks of a plain DDP script each."""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from _harness import Row, publish

from ktrain import names

NUM_RANKS: Final = 2
TICKS: Final = os.sysconf("SC_CLK_TCK")
PROGRAM: Final = """
import sys, time
import torch.distributed as dist
dist.init_process_group("gloo")
dist.barrier()
with open(sys.argv[1], "a") as file: print("up", file=file)
time.sleep(600)
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one start."""

    seconds: float
    cpu: float  # seconds, of all processes
    memory: float  # MiB of all processes; shared pages count in proportion
    parent: float  # the same, of the one that stays: launcher or torchrun


def main() -> None:
    """Interleaved; medians of `rounds`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    rounds = 3 if parser.parse_args().quick else 11
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
        found = [(launcher(folder, number), torchrun(folder)) for number in range(rounds)]
    ours, theirs = (
        [statistics.median(column) for column in zip(*map(astuple, kind), strict=True)]
        for kind in zip(*found, strict=True)
    )
    metrics = [
        ("until all ranks have met", "s"),
        ("CPU time until then", "s"),
        ("memory of all processes (PSS)", "MiB"),
        ("memory of the parent (PSS)", "MiB"),
    ]
    publish(
        "pod_start",
        [
            Row(metric, mine, unit, peer, "torchrun")
            for (metric, unit), mine, peer in zip(metrics, ours, theirs, strict=True)
        ],
        note=f"one pod, {NUM_RANKS} gloo ranks of a script that imports torch only, median of {rounds}, interleaved, one thread",
    )


def launcher(folder: Path, number: int) -> Cost:
    """Ours, as `ktrain run` and the operator start it."""
    spec = {"code": {"dir": str(folder)}, "script": {"path": "program.py", "args": ["up"]}, "procsPerNode": NUM_RANKS}
    job = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": f"job-{number}"}, "spec": spec}
    (folder / "spec.json").write_text(json.dumps(job), encoding="utf-8")
    env = {
        names.ENV_SPEC: str(folder / "spec.json"), names.ENV_NODE_RANK: "0", names.ENV_NUM_NODES: "1",
        names.ENV_RDZV_HOST: "127.0.0.1", names.ENV_RDZV_PORT: str(_free_port()), names.ENV_METRICS_PORT: "0",
        names.ENV_BIND: "127.0.0.1", names.ENV_SCRATCH: str(folder / f"scratch-{number}"),
        names.ENV_TERMINATION_LOG: str(folder / "termination"), names.ENV_STORAGE_URL: str(folder / "runs"),
    }  # fmt: skip
    return _cost([sys.executable, "-m", "ktrain_launcher"], folder, env)


def torchrun(folder: Path) -> Cost:
    """The peer, with its own defaults."""
    words = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={NUM_RANKS}", "program.py", "up"]
    return _cost([sys.executable, *words], folder, {})


def _cost(argv: Sequence[str], folder: Path, env: Mapping[str, str]) -> Cost:
    up = folder / "up"
    up.unlink(missing_ok=True)
    begun = time.monotonic()
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(argv, cwd=folder, env={**os.environ, **env}, stdout=output, stderr=output)
    while not up.exists() or len(up.read_text().splitlines()) < NUM_RANKS:
        if process.poll() is not None:
            sys.exit((folder / "output").read_text(errors="replace"))
        time.sleep(0.002)
    seconds = time.monotonic() - begun
    family = _family(process.pid)
    cost = Cost(seconds, sum(map(_cpu, family)), sum(map(_pss, family)), _pss(process.pid))
    for pid in reversed(family):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    return cost


def _family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [pid, *(each for child in path.read_text().split() for each in _family(int(child)))]


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS  # with the children that it has waited for


def _pss(pid: int) -> float:
    """MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


if __name__ == "__main__":
    main()
