"""A storage that fails on purpose."""

import threading
import time
from pathlib import Path

import pytest

from ktrain.errors import StorageError
from ktrain.names import ENV_UNSTEADY
from ktrain.storage import Storage, open_storage, scoped, unsteady


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(ENV_UNSTEADY, str(tmp_path / "plan"))
    return tmp_path / "plan"


@pytest.fixture
def storage(tmp_path: Path, plan: Path) -> Storage:
    assert not plan.exists()
    return scoped(open_storage(str(tmp_path / "runs")), "run")


def test_without_a_plan_nothing_fails(storage: Storage) -> None:
    storage.put("a", b"1")
    assert storage.get("a")[0] == b"1"
    assert [it.key for it in storage.list()] == ["a"]
    assert storage.url.endswith("/runs/run")
    assert storage.is_fenced


def test_a_request_waits_for_the_end_of_an_outage(storage: Storage, plan: Path) -> None:
    storage.put("a", b"1")
    plan.write_text(f"outage {time.time() + 600} 0\n")
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.append(storage.get("a")[0]))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    plan.unlink()
    thread.join(10)
    assert found == [b"1"]


def test_an_outage_that_lasts_fails_the_request(storage: Storage, plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsteady, "PATIENCE", 0.1)
    plan.write_text(f"outage {time.time() + 600} 0\n")
    with pytest.raises(StorageError, match="does not answer"):
        storage.create("b", b"1")
    plan.unlink()
    assert storage.stat("b") is None


def test_one_that_is_slow_answers(storage: Storage, plan: Path) -> None:
    plan.write_text(f"slow {time.time() + 600} 0.2\n")
    begun = time.monotonic()
    storage.put("a", b"1")
    assert time.monotonic() - begun >= 0.2
    plan.write_text(f"slow {time.time() - 1} 9\n")
    assert storage.get("a")[0] == b"1"
