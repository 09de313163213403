"""A process that is measured: pinned to one core, with what the kernel knows of its time and memory."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

HERE: Final = Path(__file__).parent
PATIENCE_SECONDS: Final = 600.0
TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Used:
    """By a process, up to some moment."""

    seconds: float  # since its start
    mib: float  # peak

    def extrapolated(self, since: Self, times: int) -> Self:
        """As if what came since then had come so many times."""
        seconds, mib = (
            since.seconds + times * (self.seconds - since.seconds),
            since.mib + times * (self.mib - since.mib),
        )
        return replace(self, seconds=seconds, mib=mib)


class Process:
    """Started now; `is_ready` says when it has read everything."""

    def __init__(
        self, command: Sequence[str], folder: Path, core: int, is_ready: Callable[[], bool] | None = None, port: int = 0
    ):
        self.port = port  # of its pages
        self._out, self._err = folder / "out", folder / "err"
        self._is_ready = is_ready or (lambda: self.has_said("synced"))
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._begun = time.monotonic()
            self._process = subprocess.Popen(
                ["taskset", "-c", str(core), sys.executable, *command], cwd=HERE, stdout=out, stderr=err,
                env={**os.environ, "KUBECONFIG": str(folder.parent / "kubeconfig")},
            )  # fmt: skip
        self.pid = self._process.pid

    def wait_until_ready(self) -> Used:
        """Since its start."""
        return self.wait(self._is_ready)

    def wait(self, is_so: Callable[[], bool]) -> Used:
        """Until then; SystemExit with what it said when that never comes."""
        while not is_so():
            if self._process.poll() is not None or time.monotonic() > self._begun + PATIENCE_SECONDS:
                raise SystemExit(f"it does not get ready:\n{self._err.read_text()[-3000:]}{self.log[-3000:]}")
            time.sleep(0.02)
        return Used(time.monotonic() - self._begun, self.peak_mib)

    @property
    def peak_mib(self) -> float:
        """The most memory that it had so far."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024

    @property
    def cpu_seconds(self) -> float:
        """Of all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def log(self) -> str:
        """What it wrote."""
        return self._out.read_text()

    @property
    def told(self) -> str:
        """What it wrote to its other stream: the controller's log."""
        return self._err.read_text()

    def has_said(self, word: str) -> bool:
        """Anywhere in its log."""
        return word in self.log

    def end(self) -> None:
        """As a crash would; nothing where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._process.wait()


def controller(folder: Path, core: int) -> Process:
    """The real one, with its default flags."""
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])

    def is_ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    flags = ["--port", str(port), "--bind", "127.0.0.1"]
    return Process(["-m", "ktrain_controller", *flags], folder, core, is_ready, port)


def peer(name: str, folder: Path, core: int, *numbers: int) -> Process:
    """One of _controller_peers."""
    folder.mkdir()
    return Process(["_controller_peers.py", name, *map(str, numbers)], folder, core)
