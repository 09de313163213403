"""MLflow as a sink, against a real server: one run over restarts, and training that does not wait for it."""

import math
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ktrain_trainer as ktrain
from ktrain.errors import NonFiniteError, SpecError
from ktrain.local.gang import free_port
from ktrain.spec.track import Track
from ktrain.storage.memory import MemoryStorage
from ktrain_trainer.sinks import behind
from ktrain_trainer.sinks.behind import Behind
from ktrain_trainer.sinks.facts import Facts, Kept
from ktrain_trainer.sinks.mlflow import MlflowRun

START_SECONDS = 180.0
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Server:
    """A real MLflow server on the loopback interface, with SQLite."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.uri = f"http://127.0.0.1:{port}"
        database = f"sqlite:///{folder / 'mlflow.db'}"
        # What `mlflow server` sets for its workers, without its second process.
        env = {
            "_MLFLOW_SERVER_FILE_STORE": database,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": str(folder / "artifacts"),
            "_MLFLOW_SERVER_REGISTRY_STORE": database,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "mlflow.server.fastapi_app:app", "--port", str(port)],
                env={**os.environ, **env}, cwd=folder, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def wait(self) -> None:
        """Until it answers."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def signal(self, number: signal.Signals) -> None:
        """To the process, by its id."""
        self._process.send_signal(number)

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("mlflow"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # a busy machine makes the tables of a new database slowly
        patch.setattr(behind, "CLOSE_SECONDS", 60.0)
        try:
            import mlflow.tracking  # while it starts

            assert mlflow.tracking
            made.wait()
            assert client(made).search_experiments()
            yield made
        finally:
            made.close()


def client(server: Server) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(server.uri)


def runs(server: Server, experiment: str) -> list[Any]:
    talk = client(server)
    return list(talk.search_runs([talk.get_experiment_by_name(experiment).experiment_id]))


def history(server: Server, run: Any, metric: str) -> list[tuple[int, float]]:
    return [(it.step, it.value) for it in client(server).get_metric_history(run.info.run_id, metric)]


def fit(folder: Path, server: Server, experiment: str, *, poison: bool = False, **changed: Any) -> None:
    inputs = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    data = torch.utils.data.TensorDataset(inputs * (math.nan if poison else 1), (inputs.sum(1) > 0).long())
    spec = {
        "duration": "4step",
        "batch": {"global": 8, "micro": 8},
        "optim": {"name": "sgd", "lr": 0.1},
        "log": {"every": "1step"},
        "track": [{"sink": "mlflow", "uri": server.uri, "experiment": experiment, "tags": {"team": "a"}}],
    }
    ktrain.fit(nn.Linear(4, 2), data, val=data, storage=str(folder), name="line", **{**spec, **changed})


def test_a_restart_goes_on_with_the_same_run(tmp_path: Path, server: Server) -> None:
    fit(tmp_path, server, "restarts")
    (first,) = runs(server, "restarts")
    assert first.info.status == "FINISHED"
    assert first.data.params["trainer.optim.lr"] == "0.1"
    assert first.data.tags["team"] == "a"
    assert first.data.tags["ktrain.version.torch"] == torch.__version__
    fit(tmp_path, server, "restarts", duration="6step")
    (second,) = runs(server, "restarts")
    assert second.info.run_id == first.info.run_id
    assert second.data.tags["ktrain.restart.a2-e2"] == "step 4"
    assert second.data.tags["ktrain.changed.trainer.duration"] == "6step"
    assert [step for step, _ in history(server, second, "train/loss")] == [1, 2, 3, 4, 5, 6]
    assert [epoch for _, epoch in history(server, second, "ktrain/epoch")] == [1, 1, 1, 1, 1, 2, 2, 2]
    assert {step for step, _ in history(server, second, "val/accuracy")} == {4, 6}


def test_a_run_that_fails_is_told_as_failed(tmp_path: Path, server: Server) -> None:
    with pytest.raises(NonFiniteError):
        fit(tmp_path, server, "failures", poison=True)
    (run,) = runs(server, "failures")
    assert run.info.status == "FAILED"


def step(number: int, epoch: int = 1) -> dict[str, Any]:
    return {"kind": "step", "time": 1e9 + number, "step": number, "loss": 1.0 / number, "attempt": 1, "epoch": epoch}


def turn(kind: str, at: int = 0, epoch: int = 1) -> dict[str, Any]:
    return {"kind": kind, "time": 1e9, "step": at, "restored_step": at, "attempt": 1, "epoch": epoch}


def sink(server: Server, storage: MemoryStorage, experiment: str) -> Behind:
    track = Track(sink="mlflow", uri=server.uri, experiment=experiment)
    return Behind(MlflowRun(track, Kept(storage, "mlflow"), Facts("7f", "line")), every=0.0)


def test_steps_that_are_done_again_are_there_twice_and_told_apart(server: Server) -> None:
    storage = MemoryStorage()
    for epoch, restored, last in ((1, 0, 5), (2, 3, 6)):
        tracker = sink(server, storage, "twice")
        tracker.write(turn("start", restored, epoch))
        for number in range(restored + 1, last + 1):
            tracker.write(step(number, epoch))
        tracker.write(turn("stop", last, epoch))
        tracker.close()
    (run,) = runs(server, "twice")
    assert run.info.status == "KILLED"
    assert run.data.tags["ktrain.restart.a1-e2"] == "step 3"
    epochs = sorted(history(server, run, "ktrain/epoch"))
    assert epochs == [(1, 1), (2, 1), (3, 1), (4, 1), (4, 2), (5, 1), (5, 2), (6, 2)]


def test_a_server_that_hangs_makes_nobody_wait_and_gets_everything_later(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    tracker = sink(server, MemoryStorage(), "hangs")
    server.signal(signal.SIGSTOP)
    try:
        begun = time.perf_counter()
        tracker.write(turn("start"))
        for number in range(1, 201):
            tracker.write(step(number))
        took = time.perf_counter() - begun
        while not caplog.records:
            time.sleep(0.01)
    finally:
        server.signal(signal.SIGCONT)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    tracker.write(turn("end", 200))
    while tracker.is_waiting:
        time.sleep(0.01)
    tracker.close()
    (run,) = runs(server, "hangs")
    assert took < 0.5
    assert run.info.status == "FINISHED"
    assert len(history(server, run, "train/loss")) == 200
    assert [it.getMessage().split(":")[0] for it in caplog.records] == [
        "mlflow does not take metrics for now, training goes on",
        "mlflow takes metrics again; 0 records were dropped meanwhile",
    ]


def test_without_a_uri_it_says_where_to_give_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(SpecError, match=r"spec\.trainer\.track: mlflow has no uri; set uri, or MLFLOW_TRACKING_URI"):
        MlflowRun(Track(sink="mlflow"), Kept(MemoryStorage(), "mlflow"), Facts())
