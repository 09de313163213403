"""Starts real launchers, several on this machine as if they were several nodes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ktrain import names

T = TypeVar("T")
SCRIPTS = Path(__file__).parent / "scripts"
ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


@dataclass
class Node:
    """One launcher and the files that it writes."""

    process: "subprocess.Popen[bytes]"
    folder: Path

    @property
    def output(self) -> str:
        """What it printed, both streams."""
        return (self.folder / "output").read_text(errors="replace")

    @property
    def termination(self) -> dict[str, Any]:
        """The termination message."""
        found: dict[str, Any] = json.loads((self.folder / "termination").read_text())
        return found

    @property
    def port(self) -> int:
        """Where it serves."""
        return until(lambda: _port(self.output))

    def get(self, path: str) -> str:
        """A page of its server."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            text: str = answer.read().decode()
        return text

    def status(self) -> dict[str, Any]:
        """The /status page."""
        found: dict[str, Any] = json.loads(self.get("/status"))
        return found

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE)


@dataclass
class Gang:
    """A job's launchers, its storage, and a folder that all ranks can write to."""

    folder: Path
    spec: Mapping[str, Any]
    num_nodes: int = 1
    nproc: int = 1
    env: Mapping[str, str] = field(default_factory=dict)
    rdzv_port: int = field(default_factory=lambda: free_port())
    nodes: dict[int, Node] = field(default_factory=dict)

    def start(self, node: int) -> Node:
        """A launcher for this node, also in place of one that has ended."""
        place = self.folder / f"node{node}-{time.monotonic_ns()}"
        place.mkdir(parents=True)
        spec = self.folder / "spec.json"
        spec.write_text(json.dumps(self.spec))
        env = dict(os.environ) | {
            names.ENV_SPEC: str(spec),
            names.ENV_NODE_RANK: str(node),
            names.ENV_NUM_NODES: str(self.num_nodes),
            names.ENV_NPROC: str(self.nproc),
            names.ENV_RDZV_HOST: "127.0.0.1",
            names.ENV_RDZV_PORT: str(self.rdzv_port),
            names.ENV_METRICS_PORT: "0",
            names.ENV_BIND: "127.0.0.1",
            names.ENV_SCRATCH: str(place / "scratch"),
            names.ENV_TERMINATION_LOG: str(place / "termination"),
            names.ENV_STORAGE_URL: str(self.folder / "runs"),
            "GANG_FOLDER": str(self.folder),
            "PYTHONPATH": str(ROOT),  # the scripts share a helper
            **self.env,
        }
        with (place / "output").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "ktrain_launcher"],
                env=env,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )
        self.nodes[node] = Node(process, place)
        return self.nodes[node]

    def wait(self) -> list[int]:
        """Everybody's exit code."""
        return [self.nodes[node].wait() for node in sorted(self.nodes)]

    def marks(self, name: str) -> list[str]:
        """What ranks wrote with `mark()`, in order."""
        path = self.folder / f"{name}.marks"
        return path.read_text().split() if path.exists() else []

    @property
    def run(self) -> Path:
        """The run's folder in storage."""
        return next(path for path in (self.folder / "runs/default/job").iterdir() if path.is_dir())

    def epochs(self) -> list[dict[str, Any]]:
        """The records that node 0 wrote."""
        # Storage keeps locks beside, whose names begin with a dot.
        return [json.loads(path.read_text()) for path in sorted((self.run / names.DIR_EPOCHS).glob("a*.json"))]

    @property
    def output(self) -> str:
        """Everybody's, for failures."""
        return "\n".join(f"--- node {node}\n{each.output}" for node, each in sorted(self.nodes.items()))


@contextmanager
def gang(
    folder: Path,
    script: str,
    *args: str,
    num_nodes: int = 1,
    nproc: int = 1,
    spec: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    start: Sequence[int] | None = None,
) -> Iterator[Gang]:
    """Runs `scripts/<script>`; whoever is left at the end is killed."""
    made = Gang(folder, document(script, *args, **(spec or {})), num_nodes, nproc, env or {})
    try:
        for node in range(num_nodes) if start is None else start:
            made.start(node)
        yield made
    finally:
        for each in made.nodes.values():
            each.process.kill()
            each.process.wait()
        sys.stdout.write(made.output)


def document(script: str, /, *args: str, **spec: Any) -> dict[str, Any]:
    """A job file, in script mode unless spec says otherwise, impatient enough for tests."""
    restart = {"inPlace": 3, "backoff": {"base": "10ms", "cap": "20ms"}}
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": "job"},
        "spec": {
            "code": {"dir": str(SCRIPTS)},
            "script": {"path": script, "args": list(args)},
            "restart": restart,
            "preemption": {"grace": "5s"},
            **spec,
        },
    }


def until(look: Callable[[], T | None]) -> T:
    """What `look` finds, as soon as it finds it."""
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
    return found


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Sends a signal."""
    os.kill(pid, number)


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _port(output: str) -> int | None:
    for line in output.splitlines():
        if " event=serving port=" in line:
            return int(line.rpartition("=")[2])
    return None
