"""`ktrain run` when everything is killed, storage is full, damaged, gone, or S3."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ktrain.names import CliExit
from ktrain.records import read_records
from ktrain_trainer import checkpoint
from ktrain_trainer.checkpoint import init_from
from tests.local.commands import LONG, command, ktrain_run, run_storage, running, step
from tests.storage.s3server import BUCKET, S3Server, s3_server

pytestmark = pytest.mark.slow

SHORT = ("--set", "trainer.duration=160step", "--set", "trainer.checkpoint.every=10step")


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "key")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "verysecret")
        environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
        with s3_server() as server:
            environment.setenv("AWS_ENDPOINT_URL", server.endpoint)
            yield server


def kill_at(folder: Path, saved_step: int, *args: str) -> None:
    """Runs until a checkpoint of at least this step is there, then SIGKILL; the guards take the whole tree along."""
    process = subprocess.Popen(command(*args), cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "committed=True" in line and int(line.partition("step=")[2].split()[0]) >= saved_step:
            break
    process.kill()
    process.communicate()


def weights(url: str) -> list[torch.Tensor]:
    net = torch.nn.Sequential(
        torch.nn.Linear(2, 64), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(64, 64), torch.nn.ReLU(),
        torch.nn.Linear(64, 2),
    )  # fmt: skip
    init_from(net, url, world=checkpoint.World())
    return [param.detach() for param in net.parameters()]


def test_killed_twice_and_on_s3_the_end_is_the_same_to_the_bit(folder: Path, server: S3Server) -> None:
    assert ktrain_run(folder, *SHORT).returncode == CliExit.OK
    whole = weights(f"{folder}/runs/default/demo")
    for url in (str(folder / "killed"), f"s3://{BUCKET}/killed"):
        there = (*SHORT, "--set", f"storage.url={url}")
        kill_at(folder, 20, *there)
        kill_at(folder, 80, *there)
        done = ktrain_run(folder, *there)
        assert done.returncode == CliExit.OK, done.stderr
        assert "resuming run" in done.stderr
        assert all(map(torch.equal, weights(f"{url}/default/demo"), whole))


def test_s3_without_its_bucket_is_one_sentence(folder: Path, server: S3Server) -> None:
    done = ktrain_run(folder, "--set", "storage.url=s3://nobodys/runs")
    assert done.returncode == CliExit.FAILED
    assert done.stderr.count("error:") == 1
    assert "nobodys" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_costs_a_sentence_and_nothing_that_was_saved(folder: Path) -> None:
    """On a file system of 120 KiB, which holds two checkpoints and no third."""
    inside = f"mount -t tmpfs -o size=120k tmpfs runs && {' '.join(command(*SHORT))}; cp -r runs kept; exit 0"
    (folder / "runs").mkdir()
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside],
        cwd=folder, capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    assert (
        "the disk is full; free some space or choose another storage.url (a checkpoint takes 52.5 KiB, " in done.stderr
    )
    assert re.search(
        r"failed after .*: full \(exit 73\) on rank \d: the last checkpoint, of step 160, could not", done.stderr
    )
    assert "restart" not in done.stderr  # the same end would be trained for again
    assert done.stderr.count("start step=") == 1
    assert "Traceback" not in done.stderr
    (folder / "runs").rmdir()
    shutil.move(folder / "kept", folder / "runs")
    saved = step(folder)
    assert 0 < saved < 160
    resumed = ktrain_run(folder, *SHORT)
    assert resumed.returncode == CliExit.OK, resumed.stderr
    assert f"resuming run {run_storage(folder).url.rsplit('/', 1)[-1][:8]} from step {saved}" in resumed.stderr
    assert step(folder) == 160


def test_a_script_that_finds_no_room_is_not_begun_again(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    subprocess.run(
        [sys.executable, "-m", "ktrain", "init", "--template", "script", str(folder)], check=True, capture_output=True
    )
    (folder / "runs").mkdir()
    inside = f"mount -t tmpfs -o size=48k tmpfs runs && {' '.join(command())}; exit 0"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside],
        cwd=folder, capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    assert re.search(r"failed after .*: full \(exit 73\) on rank \d: the checkpoint of step \d+ could not", done.stderr)
    assert "the disk is full; free some space or choose another storage.url (a checkpoint takes " in done.stderr
    assert "restart" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_checkpoint_is_named_and_the_one_before_serves(folder: Path) -> None:
    with running(folder, *LONG) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "committed=True" in line:
                break
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    saved = step(folder)
    newest = sorted(Path(run_storage(folder).url.removeprefix("file://")).glob("a*/step-*/*.bin"))[-1]
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")
    resumed = ktrain_run(folder, "--set", f"trainer.duration={saved + 50}step")
    assert resumed.returncode == CliExit.OK, resumed.stderr
    assert f"{newest.parent.name}/{newest.name} is damaged" in resumed.stderr
    restored = [record["restored_step"] for record in read_records(run_storage(folder)).of("start")]
    assert 0 < restored[-1] < saved
    assert step(folder) == saved + 50


def test_other_data_is_refused(folder: Path) -> None:
    assert ktrain_run(folder, *SHORT).returncode == CliExit.OK
    code = folder / "train.py"
    code.write_text(code.read_text(encoding="utf-8").replace("size: int = 2000", "size: int = 1999"), encoding="utf-8")
    refused = ktrain_run(folder, "--set", "trainer.duration=200step")
    assert refused.returncode == CliExit.JOB_FAILED
    assert "the training dataset has 1999 samples, but had 2000 when this run began" in refused.stderr


def test_a_folder_that_may_not_be_written_is_one_sentence(folder: Path) -> None:
    (folder / "runs").mkdir(mode=0o555)
    done = subprocess.run(
        ["setpriv", "--reuid=12345", "--clear-groups", *command()] if os.geteuid() == 0 else command(),
        cwd=folder, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "HOME": "/nonexistent"},
    )  # fmt: skip
    assert done.returncode == CliExit.FAILED, done.stderr
    assert done.stderr.count("error:") == 1
    assert "runs" in done.stderr
    assert "Traceback" not in done.stderr
