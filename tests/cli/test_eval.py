"""`ktrain eval`: a commit's weights give what the run's own evaluation gave, and nothing of the run changes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ktrain.cli.app import run as cli
from ktrain.errors import KtrainError, MissingError, SpecError
from ktrain.load import load_job
from ktrain_trainer import loop, predictions
from ktrain_trainer.assemble import assemble, build_parts
from ktrain_trainer.place import claim
from ktrain_trainer.run import Run
from ktrain_trainer.stop import StopFlag
from ktrain_trainer.world import World

CODE = """
import torch

def net():
    return torch.nn.Linear(4, 3)

class Points:
    def __init__(self, size=23, seed=0):
        self.x = torch.randn(size, 4, generator=torch.Generator().manual_seed(seed))
    def __len__(self):
        return len(self.x)
    def __getitem__(self, at):
        return self.x[at], int(self.x[at, :3].argmax())
"""
TRAINER: dict[str, Any] = {
    "duration": "6step",
    "model": {"use": "eval_code:net"},
    "data": {"train": {"use": "eval_code:Points"}, "val": {"use": "eval_code:Points", "args": {"size": 17, "seed": 1}}},
    "batch": {"global": 8, "micro": 4},
    "optim": {"name": "sgd", "lr": 0.5},
    "eval": {"every": "2step", "metrics": {"f1": {"average": "macro"}, "confusion_matrix": {}}},
    "checkpoint": {"every": "2step", "keepLast": 3, "best": {"monitor": "val/f1", "mode": "max", "keep": 1}},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """A job file whose run is over, and the run."""
    folder = tmp_path_factory.mktemp("eval")
    (folder / "eval_code.py").write_text(CODE)
    document = {
        "apiVersion": "ktrain.dev/v1", "kind": "TrainingJob", "metadata": {"name": "small"},
        "spec": {"storage": {"url": "runs"}, "trainer": TRAINER},
    }  # fmt: skip
    (folder / "job.yaml").write_text(yaml.safe_dump(document))
    loaded = load_job(folder / "job.yaml")
    spec = loaded.job.spec.trainer
    assert spec is not None
    world = World.alone("cpu")
    place = claim(
        loaded.storage_url, "small", world, fresh=False, document=loaded.job.model_dump(mode="json", by_alias=True)
    )
    sys.path.insert(0, str(folder))
    with StopFlag().listening() as stop:
        run = assemble(spec, build_parts(spec), world, place, stop=stop)
        loop.train(run)
        run.journal.close()
    sys.path.remove(str(folder))
    return folder, run


def files(folder: Path) -> dict[str, bytes]:
    return {str(it): it.read_bytes() for it in sorted((folder / "runs").rglob("*")) if it.is_file()}


def test_it_is_the_runs_own_evaluation(
    trained: tuple[Path, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = trained
    before = files(folder)
    assert cli(["eval", str(folder / "job.yaml"), "--out", str(tmp_path), "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metrics"] == run.progress.metrics
    assert found["details"] == run.details
    assert (found["step"], found["samples"]) == (6, 17)
    assert json.loads((tmp_path / "metrics.json").read_text())["metrics"] == found["metrics"]
    assert [row["sample"] for row in predictions.read(Path(found["predictions"]))] == list(range(17))
    assert files(folder) == before


def test_the_best_is_evaluated_by_a_runs_folder_as_a_table(
    trained: tuple[Path, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = trained
    assert run.spec.checkpoint.best is not None
    args = [
        "eval",
        str(folder / "runs/default/small"),
        "--checkpoint",
        "best",
        "--code",
        str(folder),
        "--out",
        str(tmp_path),
    ]
    assert cli(args) == 0
    table = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert float(table["val/f1"]) == pytest.approx(run.progress.top[0], rel=1e-5)


@pytest.mark.parametrize(
    ("args", "kind", "message"),
    [
        (["--checkpoint", "4711"], MissingError, "has no checkpoint '4711'; there are best, last, and the steps .*6"),
        (["--split", "test"], SpecError, r"there is no data\.test to evaluate on; add it to the job file"),
        (["--set", "trainer.model.use=eval_code:nett"], KtrainError, "did you mean 'net'"),
    ],
    ids=["step", "split", "model"],
)
def test_what_is_not_there_is_told(
    trained: tuple[Path, Run], tmp_path: Path, args: list[str], kind: type[KtrainError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        cli(["eval", str(trained[0] / "job.yaml"), "--out", str(tmp_path), *args])
