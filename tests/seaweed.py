"""A real S3 server: SeaweedFS, its data in RAM where the machine has some, for as long as a block lasts."""

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.error import HTTPError

import boto3

BUCKET: Final = "bucket"
KEYS: Final = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "verysecret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}
_RAM: Final = Path("/dev/shm")
_SERVICES: Final = ("master", "volume", "filer", "s3")
_START_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Seaweed:
    """Where it listens; it has one bucket, which the environment variables in `KEYS` open."""

    port: int

    @property
    def address(self) -> tuple[str, int]:
        """For a proxy."""
        return "127.0.0.1", self.port

    @property
    def endpoint(self) -> str:
        """For a client."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def seaweed() -> Iterator[Seaweed]:
    """Starts it and makes the bucket; ends it by its id."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_RAM if _RAM.is_dir() else None)))
        ports = _free_ports(2 * len(_SERVICES))
        log = stack.enter_context((folder / "log").open("wb"))
        process = subprocess.Popen(_command(folder, ports), stdout=log, stderr=log, cwd=folder)
        try:
            server = Seaweed(ports[2 * _SERVICES.index("s3")])
            _wait(server, process, folder / "log")
            _make_bucket(server)
            yield server
        finally:
            process.kill()  # nothing of it is kept
            process.wait()
            for socket_file in _sockets(ports):
                socket_file.unlink(missing_ok=True)


def _command(folder: Path, ports: list[int]) -> list[str]:
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    given = [
        (f"-{service}.port={ports[2 * number]}", f"-{service}.port.grpc={ports[2 * number + 1]}")
        for number, service in enumerate(_SERVICES)
    ]
    return [
        str(Path(sys.executable).with_name("weed")), "server", f"-dir={folder}", "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1", "-filer", "-s3", f"-s3.config={folder}/s3.json", "-volume.max=50",
        "-master.volumeSizeLimitMB=64", "-master.telemetry=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.localSocket={folder}/s3.sock", f"-filer.localSocket={folder}/filer.sock",
        *(option for pair in given for option in pair),
    ]  # fmt: skip


def _sockets(ports: list[int]) -> list[Path]:
    """What it leaves in the folder of temporary files, whatever it is told."""
    return [Path(f"/tmp/seaweedfs-{name}-grpc-{ports[2 * number + 1]}.sock") for number, name in enumerate(_SERVICES)]


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:  # held together, so that no port is given twice
        sockets = [stack.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(count)]
        return [it.getsockname()[1] for it in sockets]


def _wait(server: Seaweed, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while not _answers(server):
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        assert time.monotonic() < end, f"no answer within {_START_SECONDS} s: {log.read_text(errors='replace')[-2000:]}"
        time.sleep(0.05)


def _answers(server: Seaweed) -> bool:
    try:
        with urllib.request.urlopen(f"{server.endpoint}/status", timeout=2):
            return True
    except HTTPError:
        return True
    except OSError:
        return False


def _make_bucket(server: Seaweed) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=BUCKET)
    # The first write makes the server grow its volumes, which takes a second: not in somebody's test.
    client.put_object(Bucket=BUCKET, Key="warm", Body=b"1")
    client.delete_object(Bucket=BUCKET, Key="warm")
    client.close()
