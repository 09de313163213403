"""A real S3 server beside the control plane, its data in RAM, with a bucket; its keys are handed to jobs as a Secret."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hack.cluster import daemons
from hack.cluster.kubectl import apply
from hack.cluster.layout import CONTROL, CONTROL_IP, RUN, S3, S3_PORT
from hack.cluster.shell import in_control, succeeds, wait

BUCKET: Final = "ktrain"
SECRET: Final = "s3-credentials"
KEYS: Final = {"AWS_ACCESS_KEY_ID": "ktrain", "AWS_SECRET_ACCESS_KEY": "not-a-secret-outside-this-cluster"}
DATA: Final = Path("/dev/shm/ktrain-cluster-s3")


def start(program: Path) -> None:
    """Starts it and makes the bucket."""
    DATA.mkdir(parents=True, exist_ok=True)
    identity = {
        "name": "ktrain",
        "credentials": [{"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config = RUN / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    daemons.start(
        "s3", CONTROL, program, "server", f"-ip={CONTROL_IP}", f"-ip.bind={CONTROL_IP}", f"-dir={DATA}", "-s3",
        f"-s3.port={S3_PORT}", f"-s3.config={config}", "-volume.max=50", "-master.volumeSizeLimitMB=256",
    )  # fmt: skip
    wait("the S3 server", is_ready)


def is_ready() -> bool:
    """Whether it answers."""
    return succeeds(in_control("curl", "--silent", "--max-time", "2", "--output", "/dev/null", S3))


@contextmanager
def keys_in_environment() -> Iterator[None]:
    """For whoever reads the bucket from here; commands of the tests get none, as a user's shell has none."""
    os.environ.update(KEYS)
    try:
        yield
    finally:
        for key in KEYS:
            del os.environ[key]


def secret(namespace: str) -> None:
    """The keys, where a job of this namespace finds them."""
    apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": namespace}, "stringData": KEYS}
    )
