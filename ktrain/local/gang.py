"""The launchers as processes: started with the environment that a pod would have, and never left behind."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ktrain import names
from ktrain.errors import TakenError
from ktrain.guard import Guard, kill_group
from ktrain.local.mapping import Mapped
from ktrain.taken import Taken

_PORTS: Final = range(20_000, 32_000)  # below those that systems give to outgoing connections
_TRIES: Final = 100


@dataclass
class Node:
    """One launcher, and the files it writes."""

    rank: int
    port: int
    scratch: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Its output, with that of its ranks."""
        return self.scratch / "launcher.log"

    @property
    def termination(self) -> Path:
        """What it says when it ends."""
        return self.scratch / "termination.json"


@dataclass
class Gang:
    """All launchers of one `ktrain run`."""

    mapped: Mapped
    taken: Taken
    storage_url: str
    folder: Path  # of the job file: where the code is
    env: Mapping[str, str] = field(default_factory=dict)  # what launchers find beside it
    scratch: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="ktrain-")))
    guard: Guard = field(default_factory=Guard)
    nodes: list[Node] = field(default_factory=list)
    submitted: float = field(default_factory=time.time)  # Unix seconds
    rdzv_port: int = field(default_factory=lambda: free_port())

    def __post_init__(self) -> None:
        (self.scratch / "job.json").write_text(self.mapped.job.model_dump_json(by_alias=True))
        for rank in range(self.mapped.nodes):
            node = Node(rank, free_port(), self.scratch / f"node{rank}")
            node.scratch.mkdir()
            self.nodes.append(node)

    def is_taken_over(self) -> bool:
        """Whether another `ktrain run` (or a cluster) has begun a later attempt at this run."""
        head = self.taken.now(self.mapped.job, self.storage_url)
        return head is not None and head.attempt > self.taken.attempt

    def start(self, node: Node) -> None:
        """Starts (or starts again) a node's launcher."""
        node.termination.unlink(missing_ok=True)
        with node.log.open("ab") as log:
            node.process = subprocess.Popen(
                [sys.executable, "-m", "ktrain_launcher"],
                env=self._environment(node),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to forward
            )
        self.guard.add(node.process.pid)

    def stop(self) -> None:
        """SIGTERM to all that live: they save and leave."""
        for node in self.nodes:
            if node.process and node.process.poll() is None:
                node.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends all at once; launchers' guards take their ranks along."""
        for node in self.nodes:
            if node.process and node.process.poll() is None:
                kill_group(node.process.pid)
                node.process.wait()

    def close(self, *, keep_logs: bool) -> None:
        """Ends what still runs, and removes the scratch folder unless somebody will want the logs."""
        self.kill()
        self.guard.close()
        if not keep_logs:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def _environment(self, node: Node) -> dict[str, str]:
        own = {
            names.ENV_SPEC: str(self.scratch / "job.json"),
            names.ENV_NODE_RANK: str(node.rank),
            names.ENV_NUM_NODES: str(self.mapped.nodes),
            names.ENV_NPROC: str(self.mapped.procs),
            names.ENV_RDZV_HOST: "127.0.0.1",
            names.ENV_RDZV_PORT: str(self.rdzv_port),
            names.ENV_ATTEMPT: str(self.taken.attempt),
            names.ENV_RUN: self.taken.run,
            names.ENV_SUBMITTED: f"{self.submitted:.3f}",
            names.ENV_METRICS_PORT: str(node.port),
            names.ENV_BIND: "127.0.0.1",
            names.ENV_SCRATCH: str(node.scratch),
            names.ENV_TERMINATION_LOG: str(node.termination),
            names.ENV_STORAGE_URL: self.storage_url,
        }
        return {**os.environ, **self.mapped.job.spec.env, **self.env, **own}


def free_port() -> int:
    """A port of the loopback interface that nobody uses now, and that no outgoing connection is given meanwhile."""
    for _ in range(_TRIES):
        port = random.SystemRandom().choice(_PORTS)  # not the global generator, which may be seeded alike elsewhere
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise TakenError(f"no port from {_PORTS[0]} to {_PORTS[-1]} is free on 127.0.0.1; end what uses them")
