"""What is known to fail before any rank starts."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ktrain.names import Exit
from ktrain.spec import JobSpec
from ktrain.storage.file import FileStorage
from ktrain.storage.memory import MemoryStorage
from ktrain_launcher.preflight import Place, check

TRAINER = {
    "duration": "1ep",
    "model": {"use": "m:Net"},
    "data": {"train": {"use": "m:Data"}, "loader": {"workers": 2}},
    "batch": {"global": 8, "micro": 8},
    "optim": {"lr": 0.1},
}


def place(tmp_path: Path, **changes: Any) -> Place:
    spec = JobSpec.model_validate(changes.pop("spec", {"script": {"path": "train.py"}}))
    code = tmp_path / "code"
    code.mkdir(exist_ok=True)
    (code / "train.py").touch()
    made: dict[str, Any] = {
        "spec": spec,
        "scratch": tmp_path / "scratch",
        "storage": MemoryStorage(),
        "code": code,
        "in_cluster": False,
        "shm": tmp_path,
        "dev": tmp_path,
    }
    return Place(**(made | changes))


def now() -> datetime:
    return datetime.now(UTC)


def test_a_sound_place_has_no_problem(tmp_path: Path) -> None:
    sound = place(tmp_path)
    assert check(sound, now()) is None
    assert list(sound.storage.list()) == []


def test_a_scratch_that_is_a_file_is_permanent(tmp_path: Path) -> None:
    (tmp_path / "scratch").touch()
    problem = check(place(tmp_path), now())
    assert problem is not None
    assert problem.code is Exit.SPEC
    assert "KTRAIN_SCRATCH" in problem.sentence


@pytest.mark.parametrize("name", ["torch.py", "numpy/__init__.py", "random.py", "ktrain/__init__.py"])
def test_a_module_that_hides_one_that_ranks_need_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "code" / name).parent.mkdir(parents=True)
    (tmp_path / "code" / name).touch()
    problem = check(place(tmp_path), now())
    assert problem is not None
    assert problem.code is Exit.BUILD
    assert str(tmp_path / "code" / name) in problem.sentence


def test_ktrains_own_checkout_hides_nothing(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    spec = {"script": {"path": "tests/launcher/scripts/ends.py"}}
    assert check(place(tmp_path, code=root, spec=spec), now()) is None
    assert check(place(tmp_path, code=root, spec={"trainer": TRAINER}), now()) is None


def test_a_script_that_is_not_there_is_named(tmp_path: Path) -> None:
    problem = check(place(tmp_path, spec={"script": {"path": "main.py"}}), now())
    assert problem is not None
    assert problem.code is Exit.SPEC
    assert "'main.py'" in problem.sentence


def test_missing_gpus_are_the_nodes_fault_and_only_count_in_a_cluster(tmp_path: Path) -> None:
    (tmp_path / "nvidia0").touch()
    (tmp_path / "nvidiactl").touch()
    spec = {"script": {"path": "train.py"}, "resources": {"nvidia.com/gpu": 2}}
    problem = check(place(tmp_path, spec=spec, in_cluster=True), now())
    assert problem is not None
    assert problem.code is Exit.PEER
    assert "2 GPUs and sees 1" in problem.sentence
    assert check(place(tmp_path, spec=spec), now()) is None


def test_storage_that_cannot_be_written_is_retried(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    problem = check(place(tmp_path, storage=FileStorage(tmp_path / "runs")), now())
    assert problem is not None
    assert problem.code is Exit.STORAGE
    assert "storage failed its test" in problem.sentence


def test_a_clock_far_from_storages_is_told(tmp_path: Path) -> None:
    problem = check(place(tmp_path), now() + timedelta(hours=1))
    assert problem is not None
    assert "differ by" in problem.sentence


def test_a_clock_that_was_never_set_is_told(tmp_path: Path) -> None:
    problem = check(place(tmp_path), datetime(1970, 1, 2, tzinfo=UTC))
    assert problem is not None
    assert "clock says 1970-01-02" in problem.sentence


def test_a_permanent_problem_goes_before_one_that_may_pass(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    broken = place(tmp_path, storage=FileStorage(tmp_path / "runs"), spec={"script": {"path": "main.py"}})
    problem = check(broken, now())
    assert problem is not None
    assert problem.code is Exit.SPEC


def test_little_shared_memory_matters_to_loader_workers_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = _Usage(total=64 << 20, free=1 << 30)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage)
    problem = check(place(tmp_path, spec={"trainer": TRAINER}), now())
    assert problem is not None
    assert "64.0 MiB, but 2 loader workers" in problem.sentence
    assert check(place(tmp_path), now()) is None


def test_a_full_disk_may_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: _Usage(total=1 << 40, free=1 << 20))
    problem = check(place(tmp_path), now())
    assert problem is not None
    assert problem.code is Exit.STORAGE
    assert "1.0 MiB left" in problem.sentence


class _Usage:
    def __init__(self, *, total: int, free: int) -> None:
        self.total, self.free = total, free
