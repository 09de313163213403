"""torch's profiler over a few steps, and what is kept of it: a trace, tables, stacks, blocks of memory."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from ktrain.spec import Profile
from ktrain.storage import Storage

SPAN: Final = "ktrain: "
MAX_ROWS: Final = 40
MAX_MEMORY_EVENTS: Final = 100_000
MAX_DEPTH: Final = 100_000


@contextlib.contextmanager
def _deep() -> Iterator[None]:
    """torch goes from each event to its parents by recursion, and events of one instant count as each other's parents."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(max(usual, MAX_DEPTH))
    try:
        yield
    finally:
        sys.setrecursionlimit(usual)


class Recorder:
    """Records from `start` to `stop`, the first step only to warm up; then there is a recording of what it saw."""

    def __init__(self, spec: Profile, device: torch.device) -> None:
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it tells of each start, and of the GPUs that a CPU lacks
        self._spec, self._device = spec, device
        self._keeps_blocks = spec.memory and device.type == "cuda"
        self._left = spec.steps + 1
        self._torch = profile(
            activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])],
            schedule=schedule(wait=0, warmup=1, active=spec.steps, repeat=1),
            profile_memory=spec.memory, record_shapes=spec.shapes, with_stack=spec.stack, acc_events=True,
            experimental_config=torch._C._profiler._ExperimentalConfig(verbose=spec.stack),  # else the stacks are empty
        )  # fmt: skip
        if self._keeps_blocks:
            torch.cuda.memory._record_memory_history(max_entries=MAX_MEMORY_EVENTS)
        self._torch.start()

    @property
    def steps(self) -> int:
        """Steps recorded until now, without the warm-up."""
        return self._spec.steps - self._left

    @property
    def is_complete(self) -> bool:
        """Whether it has all the steps that were asked for."""
        return self._left == 0

    def step(self) -> None:
        """After each step."""
        self._left -= 1
        if self._left:
            self._torch.step()

    @_deep()
    def stop(self) -> "Recording":
        """Records no more."""
        self._torch.stop()
        return Recording(
            self._spec, self._device, self._torch, self.steps, self._blocks() if self._keeps_blocks else b""
        )

    @_deep()
    def drop(self) -> None:
        """Records no more, and forgets what it saw."""
        if self._keeps_blocks:
            torch.cuda.memory._record_memory_history(enabled=None)
        self._torch.stop()

    def _blocks(self) -> bytes:
        """Each block of the GPU's memory and who allocated it, for pytorch.org/memory_viz."""
        with tempfile.TemporaryDirectory() as folder:
            torch.cuda.memory._dump_snapshot(f"{folder}/memory.pickle")  # type: ignore[no-untyped-call]
            torch.cuda.memory._record_memory_history(enabled=None)
            return Path(folder, "memory.pickle").read_bytes()


@dataclass(frozen=True)
class Recording:
    """Some steps of one rank."""

    spec: Profile
    device: torch.device
    found: profile
    steps: int
    blocks: bytes

    @_deep()
    def keep(self, storage: Storage, key: str) -> int:
        """Writes all files, the trace last: whoever finds it finds the rest too. Its size in bytes."""
        storage.put(f"{key}.txt", self._tables().encode())
        if self.blocks:
            storage.put(f"{key}.memory.pickle", self.blocks)
        with tempfile.TemporaryDirectory() as folder:
            if self.spec.stack:
                self.found.export_stacks(f"{folder}/stacks", f"self_{self.device.type}_time_total")
                storage.put(f"{key}.stacks.txt", Path(folder, "stacks").read_bytes())
            self.found.export_chrome_trace(f"{folder}/trace.json.gz")
            trace = Path(folder, "trace.json.gz").read_bytes()
        storage.put(f"{key}.trace.json.gz", trace)
        return len(trace)

    @_deep()
    def spans(self) -> Mapping[str, float]:
        """Seconds per step of each named part, as the host sees them."""
        return {
            event.key.removeprefix(SPAN): event.cpu_time_total / 1e6 / self.steps
            for event in self.found.key_averages()
            if event.key.startswith(SPAN) and event.count
        }

    def _tables(self) -> str:
        operators = self.found.key_averages(group_by_input_shape=self.spec.shapes)
        wanted = {"Operators by their own time": f"self_{self.device.type}_time_total"}
        if self.spec.memory:
            wanted["Operators by the memory that they allocate"] = f"self_{self.device.type}_memory_usage"
        parts = [f"# {title}\n{operators.table(sort_by=by, row_limit=MAX_ROWS)}" for title, by in wanted.items()]
        return "\n\n".join(parts)
