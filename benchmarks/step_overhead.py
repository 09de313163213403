"""What does the trainer cost per step over a bare loop? CPU time on a tiny MLP, one process and two gloo ranks.

ktrain runs as in a pod: the real rank program with its metrics on (snapshots to a launcher's socket, JSON lines to
storage). The others log nothing. Same model, data, optimizer implementation (foreach), clipping and schedule; one thread.
"""

import argparse
import contextlib
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _harness import Row, publish

from ktrain import names
from ktrain.history import begin_run, claim_epoch
from ktrain.spec import TrainingJob
from ktrain.storage import open_storage, scoped

HERE = Path(__file__).parent
PEERS = ("bare", "fabric", "accelerate", "hf_trainer", "lightning")
EXTRAS = ("", "+ema", "+fp16", "+metrics", "+ema+fp16+metrics")
GOAL = 60.0  # microseconds over the bare loop
WARM_UP = 100
GLOBAL = 32


def main() -> None:
    """Interleaved rounds; the median of the rounds' medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    rounds, steps = (1, 400) if quick else (5, 1600)
    rows: list[Row] = []
    for world, goal in ((1, GOAL), (2, None)):
        rows += table(world, measure(world, rounds, steps, ("ktrain", *PEERS)), goal)
    rows += costs(measure(1, rounds, steps, [f"{who}{it}" for it in EXTRAS for who in ("ktrain", "bare")]))
    publish(
        "step_overhead",
        rows,
        note=f"CPU microseconds per rank and step, median of {rounds} interleaved rounds of {steps} steps",
    )


def measure(world: int, rounds: int, steps: int, names_: Sequence[str]) -> dict[str, float]:
    """Microseconds by framework."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name in names_:
            with tempfile.TemporaryDirectory() as folder:
                found.setdefault(name, []).append(once(name, world, steps, Path(folder)))
                print(f"  {world} rank(s) {name:<12} {found[name][-1]:8.1f} us", file=sys.stderr, flush=True)
    return {name: statistics.median(values) for name, values in found.items()}


def table(world: int, medians: dict[str, float], goal: float | None) -> list[Row]:
    """Overheads over the bare loop."""
    over = {name: value - medians["bare"] for name, value in medians.items()}
    ours = over["ktrain"]
    rows = [Row(f"{world} rank(s): bare loop", medians["bare"], "us")]
    for name in PEERS[1:]:
        limit = f"<= +{goal:.0f} us" if goal is not None else "<= Fabric"
        holds = ours <= goal if goal is not None else ours <= over["fabric"]
        told = (limit, holds) if name == "fabric" else ("", None)
        rows.append(Row(f"{world} rank(s): over bare, beside {name}", ours, "us", over[name], name, *told))
    return rows


def costs(medians: dict[str, float]) -> list[Row]:
    """What the average, the scaler and metrics add to a step, beside torch's own average and scaler in a bare loop."""
    rows = []
    for extra in EXTRAS[1:]:
        ours, bare = (medians[f"{who}{extra}"] - medians[who] for who in ("ktrain", "bare"))
        rows.append(Row(f"1 rank: what {extra.lstrip('+')} costs", ours, "us", bare, "torch's own in a bare loop"))
    over = medians[f"ktrain{EXTRAS[-1]}"] - medians[f"bare{EXTRAS[-1]}"]
    return [*rows, Row("1 rank: over bare, all of them on", over, "us", None, "", "<= +60 us", over <= GOAL)]


def once(name: str, world: int, steps: int, folder: Path) -> float:
    """One run of `world` processes; rank 0's median CPU microseconds per step."""
    stamps = folder / "stamps.json"
    common = {
        **os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()), "STEPS": str(steps), "STAMPS": str(stamps), "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        if name.startswith("ktrain"):
            common |= stack.enter_context(launcher(world, steps, folder, name.split("+")[1:]))
            command = [sys.executable, "-m", "ktrain_trainer"]
        else:
            command = [sys.executable, str(HERE / "_overhead.py"), name, str(steps), str(stamps)]
        run(command, world, common)
    notes = json.loads(stamps.read_text())[WARM_UP:]
    return 1e6 * statistics.median(after[0] - before[0] for before, after in itertools.pairwise(notes))


def run(command: list[str], world: int, common: dict[str, str]) -> None:
    """All ranks, to their end."""
    ranks = []
    for rank in range(world):
        own = {"RANK": str(rank), "LOCAL_RANK": "0", "NODE_RANK": str(rank), "LOCAL_WORLD_SIZE": "1"}
        env = (
            common | own
            if world > 1
            else {k: v for k, v in common.items() if k not in {"WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}}
        )
        ranks.append(
            subprocess.Popen(command, env=env, cwd=HERE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        )
    for process in ranks:
        _, err = process.communicate(timeout=300)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{err[-2000:]}")


@contextlib.contextmanager
def launcher(world: int, steps: int, folder: Path, extras: Sequence[str]):
    """What a launcher gives its ranks: a job, a claimed epoch, and a socket that takes snapshots."""
    job = TrainingJob.model_validate(document(world, steps, folder, extras))
    (folder / "job.json").write_text(job.model_dump_json(by_alias=True))
    storage = scoped(open_storage(str(folder / "runs")), "default/overhead")
    run_id = begin_run(storage, job.model_dump(mode="json", by_alias=True))
    token = claim_epoch(scoped(storage, run_id), attempt=1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.bind(str(folder / "socket"))
        threading.Thread(target=drain, args=(inbox,), daemon=True).start()
        yield {
            names.ENV_SPEC: str(folder / "job.json"), names.ENV_RUN: run_id, names.ENV_ATTEMPT: "1",
            names.ENV_EPOCH: str(token.epoch), names.ENV_STORAGE_URL: str(folder / "runs"),
            names.ENV_SNAPSHOT_SOCKET: str(folder / "socket"), names.ENV_SCRATCH: str(folder),
        }  # fmt: skip


def drain(inbox: socket.socket) -> None:
    """Takes what comes until the socket is closed."""
    with contextlib.suppress(OSError):
        while inbox.recv(4096):
            pass


def document(world: int, steps: int, folder: Path, extras: Sequence[str]) -> dict[str, object]:
    """The same training as the peers': 32 samples a rank and step."""
    trainer: dict[str, Any] = {
        "duration": f"{steps + 1}step",
        "model": {"use": "_overhead:net"},
        "data": {"train": {"use": "_overhead:Indices"}, "collate": {"use": "_overhead:collate_for_ktrain"}},
        "batch": {"global": GLOBAL * world, "micro": GLOBAL},
        "optim": {"lr": 1e-3, "kernel": "foreach", "clip": {"norm": 1.0}},
    }
    if "ema" in extras:
        trainer["optim"]["ema"] = {"decay": 0.999}
    if "fp16" in extras:
        trainer["precision"] = "fp16"
    if "metrics" in extras:
        trainer["data"]["val"] = trainer["data"]["train"]
        trainer["eval"] = {
            "every": "400step", "maxSamples": 256, "metrics": {"f1": {"average": "macro"}, "confusion_matrix": {}},
        }  # fmt: skip
    spec = {"storage": {"url": str(folder / "runs")}, "nodes": world, "trainer": trainer}
    return {"metadata": {"name": "overhead"}, "spec": spec}


def free_port() -> int:
    """Nobody uses it now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
