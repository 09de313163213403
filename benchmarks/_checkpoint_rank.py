"""One rank of one way, started by checkpoint.py and restore.py: `python _checkpoint_rank.py WHAT WAY MIB SAVES ENDPOINT FILE`.

WHAT is `save` or `restore`. Writes what it measured as JSON, rank 0's.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from _checkpoint_paths import WAYS, Way, set_environment
from _checkpoint_state import Step, build, checksum

IDLE_STEPS = 8
MOST_STEPS = 400


def main() -> None:
    """Joins the other rank and measures."""
    what, way_name, mib, saves, endpoint, file = sys.argv[1:]
    set_environment(endpoint)
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    model, optimizer = build(int(mib))
    step = Step(optimizer)
    run(step, 1)
    reset_peak()
    before = peak()
    way = WAYS[way_name](model, optimizer, endpoint)
    run(step, 2)
    found = measure_saves(way, step, int(saves)) if what == "save" else measure_restores(way, step, int(saves))
    found["extra_mib"] = most(peak() - before)
    way.close()
    dist.barrier()
    if dist.get_rank() == 0:
        Path(file).write_text(json.dumps(found))
    dist.destroy_process_group()


def run(step: Step, count: int, way: Way | None = None) -> list[float]:
    """Seconds of each step."""
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        step.compute()
        if way:
            way.fence()
        step.update()
        seconds.append(time.perf_counter() - began)
    return seconds


def measure_saves(way: Way, step: Step, saves: int) -> dict[str, Any]:
    """Each save, the first one too, with the steps beside it."""
    return {"saves": [measure_save(way, step, number) for number in range(1, saves + 1)]}


def measure_save(way: Way, step: Step, number: int) -> dict[str, float]:
    """True cost: the call, and by how much the steps beside the upload are slower than idle ones."""
    idle = statistics.median(run(step, IDLE_STEPS))
    dist.barrier()
    began = time.perf_counter()
    is_durable = way.save(number)
    call = time.perf_counter() - began
    cost, fenced = call, 0.0
    for _ in range(MOST_STEPS):
        done = most(0.0 if is_durable() else 1.0) == 0.0
        durable = time.perf_counter() - began
        if done:
            break
        at = time.perf_counter()
        step.compute()
        before = time.perf_counter()
        way.fence()
        fenced += time.perf_counter() - before
        step.update()
        cost += time.perf_counter() - at - idle
    return {
        "stall": most(call + fenced),
        "cost": most(cost),
        "durable": most(durable),
        "idle": idle,
    }


def measure_restores(way: Way, step: Step, times: int) -> dict[str, Any]:
    """Seconds of each restore, all ranks done; and whether they brought back what was saved."""
    is_durable = way.save(1)
    way.fence()
    while not is_durable():
        time.sleep(0.01)
    dist.barrier()
    saved, seconds = checksum(way.model), []
    for _ in range(times):
        run(step, 1)
        assert checksum(way.model) != saved
        dist.barrier()
        began = time.perf_counter()
        way.restore(1)
        seconds.append(most(time.perf_counter() - began))
        assert checksum(way.model) == saved, "not what was saved"
    return {"seconds": seconds, "bytes": size_bytes(way)}


def size_bytes(way: Way) -> float:
    """Of the whole state, each byte once."""
    own = [tensor for state in way.optimizer.state.values() for tensor in state.values()] + list(way.model.parameters())
    return sum(tensor.numel() * tensor.element_size() for tensor in own)


def most(value: float) -> float:
    """The largest of all ranks."""
    tensor = torch.tensor([value], dtype=torch.float64)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return float(tensor)


def reset_peak() -> None:
    """The peak begins anew."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """The most memory this process had since then, in MiB."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
