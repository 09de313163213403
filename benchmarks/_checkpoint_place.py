"""A real S3 server in RAM behind a shaped link, and two ranks that use it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

HERE: Final = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # the tests' server and proxy

from tests.seaweed import KEYS, seaweed  # noqa: E402

RANKS: Final = 2
RATE: Final = 80e6  # bytes per second, for each connection and direction
DELAY: Final = 0.02  # seconds before each reply
_SECONDS: Final = 900
Server = Literal["seaweedfs", "sink"]


@dataclass(frozen=True, slots=True)
class Measured:
    """What the ranks wrote, and the requests that went by."""

    found: dict[str, Any]
    requests: list[dict[str, Any]]


def measure(what: str, way: str, server: Server, *, mib: int, times: int) -> Measured:
    """One way on a new server and a new link."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "requests"
        with place(server, log) as endpoint:
            found = run_ranks([what, way, str(mib), str(times), endpoint], Path(folder))
        return Measured(found, [json.loads(line) for line in log.read_text().splitlines()])


@contextmanager
def place(server: Server, log: Path) -> Iterator[str]:
    """SeaweedFS behind the shaping proxy, or a shaped server that throws large bodies away; gives its endpoint."""
    if server == "sink":
        with shaped([str(HERE / "_sink.py")], log) as endpoint:
            yield endpoint
    else:
        with (
            seaweed(volume_mib=1024) as real,
            shaped(["-m", "tests.faultproxy", "--upstream", f"127.0.0.1:{real.port}"], log) as endpoint,
        ):
            yield endpoint


@contextmanager
def shaped(command: list[str], log: Path) -> Iterator[str]:
    """A process that prints its endpoint, and writes the requests at its end."""
    command = [sys.executable, *command, "--log", str(log), "--rate", str(RATE), "--delay", str(DELAY)]
    process = subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(30)


def run_ranks(arguments: list[str], folder: Path) -> dict[str, Any]:
    """The ranks' JSON."""
    file = folder / "found.json"
    environment = {**os.environ, **KEYS, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29611", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "_checkpoint_rank.py"), *arguments, str(file)]
    ranks = [
        subprocess.Popen(command, env={**environment, "RANK": str(rank), "WORLD_SIZE": str(RANKS)})
        for rank in range(RANKS)
    ]
    try:
        codes = [rank.wait(_SECONDS) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert codes == [0] * RANKS, codes
    found: dict[str, Any] = json.loads(file.read_text())
    return found
