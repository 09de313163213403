"""Runs a function in N real processes, as ranks that share a store; whoever hosts the store outlives them, as the launcher does.

    outcomes = run_ranks("tests.checkpoint.work:save", 3, str(tmp_path))
    assert [it.value for it in outcomes] == [...]

The function gets a Rank first, then the arguments. Processes are forked from one that has imported torch already, so that
a gang of four starts in a fraction of a second.
"""

import importlib
import os
import pickle
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

_CONTEXT: Final = get_context("forkserver")
# What a first optimizer step would import in every rank (dynamo alone takes two seconds), once for all of them.
_CONTEXT.set_forkserver_preload(
    [
        "tests.ranks",
        "numpy",
        "torch._dynamo",
        "torch.distributed.tensor",
        "torch.distributed.fsdp",
        "ktrain_trainer.checkpoint",
    ]
)


@dataclass(frozen=True)
class Rank:
    """Who a function is, and the store it shares with the others."""

    rank: int
    size: int
    store: Store

    def join_gloo(self) -> None:
        """Makes the default process group, over a prefix of the store."""
        dist.init_process_group(
            "gloo",
            store=PrefixStore("gloo", self.store),
            rank=self.rank,
            world_size=self.size,
            timeout=timedelta(seconds=60),
        )


@dataclass(frozen=True)
class Outcome:
    """How a rank ended: exit code (minus the signal when killed), the function's value, its traceback."""

    exit_code: int
    value: Any = None
    error: str = ""


def run_ranks(function: str, size: int, *args: Any, timeout: float = 90, kill_peers: bool = False) -> list[Outcome]:
    """Runs `module:function` on each rank and returns how they ended; kills what is left after the timeout.

    With kill_peers, the first rank that dies takes the others with it, as a launcher does.
    """
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / str(rank) for rank in range(size)]
        processes = [
            _CONTEXT.Process(target=_main, args=(function, rank, size, server.port, str(file), args), daemon=True)
            for rank, file in enumerate(files)
        ]
        try:
            for process in processes:
                process.start()
            _join(processes, time.monotonic() + timeout, kill_peers)
        finally:
            _kill(processes)
        return [_outcome(process, file) for process, file in zip(processes, files, strict=True)]


def values(outcomes: Sequence[Outcome]) -> list[Any]:
    """What the functions returned; fails the test with the traceback of the first that did not."""
    for rank, outcome in enumerate(outcomes):
        assert outcome.exit_code == 0, f"rank {rank} exited {outcome.exit_code}\n{outcome.error}"
    return [outcome.value for outcome in outcomes]


def _join(processes: Sequence[BaseProcess], deadline: float, kill_peers: bool) -> None:
    running = list(processes)
    while running and time.monotonic() < deadline:
        wait([process.sentinel for process in running], timeout=deadline - time.monotonic())
        running = [process for process in running if process.exitcode is None]
        if kill_peers and any(process.exitcode for process in processes):
            return


def _kill(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        if process.pid is not None and process.exitcode is None:
            process.kill()
    for process in processes:
        if process.pid is not None:
            process.join()


def _outcome(process: BaseProcess, file: Path) -> Outcome:
    code = process.exitcode
    assert code is not None
    if not file.exists():
        return Outcome(code)
    value, error = pickle.loads(file.read_bytes())
    return Outcome(code, value, error)


def _main(function: str, rank: int, size: int, port: int, file: str, args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
    store = TCPStore("127.0.0.1", port, is_master=False, wait_for_workers=False)
    module, _, name = function.partition(":")
    code = 0
    try:
        target: Callable[..., Any] = getattr(importlib.import_module(module), name)
        result = pickle.dumps((target(Rank(rank, size, store), *args), ""))
    except BaseException:  # noqa: BLE001  -- told to the test, whatever it is
        code, result = 1, pickle.dumps((None, traceback.format_exc()))
    _publish(Path(file), result)
    # Without the interpreter's teardown: process groups and threads of a failed rank may wait for peers for ever.
    os._exit(code)


def _publish(file: Path, result: bytes) -> None:
    partial = file.with_suffix(".partial")
    partial.write_bytes(result)
    partial.replace(file)
