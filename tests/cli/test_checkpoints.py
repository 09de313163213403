"""`ktrain checkpoints` on a run in a folder."""

import json
from pathlib import Path

from ktrain.history import begin_run
from ktrain.names import CliExit
from ktrain.storage import open_storage, scoped
from tests.checkpoint.test_damage import flip, save_steps
from tests.cli.test_cli import ktrain


def a_run(folder: Path) -> Path:
    storage = open_storage(str(folder))
    run = begin_run(storage, {})
    save_steps(scoped(storage, run), 1, 2, 3)
    return folder / run


def test_list_verify_prune(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    listed = ktrain("checkpoints", "list", str(tmp_path), "-o", "json")
    assert [it["step"] for it in json.loads(listed.stdout)] == [1, 2, 3]
    assert ktrain("checkpoints", "list", str(run)).stdout.count("a0001-e0001") == 3
    flip(run / "a0001-e0001/step-000000002")
    verified = ktrain("checkpoints", "verify", str(tmp_path))
    assert verified.returncode == CliExit.FAILED
    assert verified.stdout.splitlines()[:2] == ["step 1: whole", "step 2: damaged"]
    assert "the checksum of block 1 is" in verified.stdout
    asked = ktrain("checkpoints", "prune", str(tmp_path), "--keep", "1")
    assert asked.returncode == CliExit.USAGE
    assert "there is no terminal to ask on; say --yes or --dry-run" in asked.stderr
    assert ktrain("checkpoints", "prune", str(tmp_path), "--keep", "1", "--dry-run").returncode == CliExit.OK
    assert len(list((run / "a0001-e0001").iterdir())) == 3
    assert ktrain("checkpoints", "prune", str(tmp_path), "--keep", "1", "--yes").returncode == CliExit.OK
    assert [it.name for it in (run / "a0001-e0001").iterdir()] == ["step-000000003"]
    assert ktrain("checkpoints", "verify", str(tmp_path)).returncode == CliExit.OK


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    nothing = ktrain("checkpoints", "list", str(tmp_path))
    assert nothing.returncode == CliExit.NOT_FOUND
    assert "has no run yet" in nothing.stderr
    a_run(tmp_path)
    absent = ktrain("checkpoints", "verify", str(tmp_path), "--step", "7")
    assert absent.returncode == CliExit.NOT_FOUND
    assert "has no checkpoint of step 7" in absent.stderr
