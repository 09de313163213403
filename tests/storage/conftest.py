"""The places that the storage tests run against."""

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktrain.storage import Storage, open_storage, scoped
from ktrain.storage.memory import MemoryStorage
from tests.storage.s3server import BUCKET, S3Server, s3_server

_places = itertools.count()


@pytest.fixture(scope="session")
def shared_s3() -> Iterator[S3Server]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "AKIAVERYSECRET")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "verysecret")
        environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
        with s3_server() as server:
            yield server


@pytest.fixture
def s3(shared_s3: S3Server) -> Iterator[S3Server]:
    shared_s3.requests.clear()
    shared_s3.agents.clear()
    yield shared_s3
    shared_s3.faults.clear()
    shared_s3.ignores_conditions = False


@pytest.fixture(params=["file", "memory", "s3", "scoped"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty storage of each kind: all keep the same contract."""
    match request.param:
        case "file":
            return open_storage(f"file://{tmp_path}/runs")
        case "memory":
            return MemoryStorage()
        case "scoped":
            return scoped(open_storage(f"file://{tmp_path}/runs"), "name space/job")
    server: S3Server = request.getfixturevalue("s3")
    return open_storage(f"s3://{BUCKET}/runs-{next(_places)}", endpoint=server.endpoint)


@pytest.fixture(params=["file", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str | None]:
    """URL and endpoint of a storage that several processes can open."""
    if request.param == "file":
        return f"file://{tmp_path}/runs", None
    server: S3Server = request.getfixturevalue("s3")
    return f"s3://{BUCKET}/shared-{next(_places)}", server.endpoint
