"""`ktrain run --smoke`: a verdict on each thing that a run does, and nothing that stays."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ktrain.errors import SpecError
from ktrain.local.once import Run
from ktrain.local.run import Ended
from ktrain.local.small import held, smoked
from ktrain.local.smoke import learnt
from ktrain.names import CliExit
from ktrain.picture import Picture
from ktrain.records import Records
from ktrain.spec import TrainingJob
from ktrain.storage.memory import MemoryStorage

DEADLINE = 280


def smoke(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ktrain", "run", "job.yaml", "--smoke", "-o", "json"],
        cwd=folder, capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_template_passes_and_leaves_nothing(folder: Path) -> None:
    done = smoke(folder)
    answer = json.loads(done.stdout)
    assert done.returncode == CliExit.OK, done.stderr
    verdicts = {it["name"]: it["told"] for it in answer["verdicts"] if it["ok"]}
    assert list(verdicts) == ["trains", "evaluates", "saves", "resumes", "learns"]
    assert verdicts["resumes"] == "from step 2 to step 3"
    assert "smoke: this job works" in done.stderr
    assert not (folder / "runs").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_mistake_in_the_users_code_is_one_sentence_and_their_lines(folder: Path) -> None:
    code = folder / "train.py"
    code.write_text(code.read_text().replace("self, index: int)", "self, index: int, missing: int)"))
    done = smoke(folder)
    (verdict,) = json.loads(done.stdout)["verdicts"]
    assert done.returncode == CliExit.JOB_FAILED
    assert verdict["name"] == "trains"
    assert "missing" in verdict["told"]
    assert "Traceback" in done.stderr
    assert "smoke: this job does not work yet" in done.stderr


def curve(losses: list[float]) -> Run:
    records = tuple({"kind": "step", "time": 0.0, "step": step, "loss": loss} for step, loss in enumerate(losses))
    return Run(Ended(CliExit.OK, Picture()), Records(records, 0), None, MemoryStorage())


@pytest.mark.parametrize(
    ("losses", "ok"),
    [
        pytest.param([2.3 - 0.01 * step for step in range(20)], True, id="falls"),
        pytest.param([2.3] * 20, False, id="stands"),
        pytest.param([2.3 + 0.01 * step for step in range(20)], False, id="rises"),
        pytest.param([-1.0 - 0.1 * step for step in range(20)], True, id="falls below nothing"),
    ],
)
def test_a_loss_that_does_not_fall_on_one_batch_fails(losses: list[float], ok: bool) -> None:
    (verdict,) = learnt(curve(losses))
    assert verdict.ok is ok
    assert ok or "it does not fall; look at optim.lr" in verdict.told


def job(**trainer: object) -> TrainingJob:
    here = {"use": "m:Thing"}
    section = {
        "duration": "10ep", "model": here, "data": {"train": here}, "batch": {"global": 256, "micro": 64},
        "optim": {"lr": 0.1}, "schedule": {"name": "cosine", "warmup": "1ep"}, "track": [{"sink": "tensorboard"}], **trainer,
    }  # fmt: skip
    return TrainingJob.model_validate({"metadata": {"name": "demo"}, "spec": {"trainer": section, "nodes": 4}})


def test_a_small_job_is_a_valid_one_of_at_most_64_samples() -> None:
    for small, steps in ((smoked(job(), 3), 3), (held(job()), 20)):
        again = TrainingJob.model_validate_json(small.model_dump_json(by_alias=True))
        trainer = again.spec.trainer
        assert trainer is not None
        assert str(trainer.duration) == f"{steps}step"
        assert trainer.batch.global_ * 3 <= 64
        assert trainer.batch.global_ == 2 * trainer.batch.micro
        assert not trainer.track
        assert again.spec.env["CUDA_VISIBLE_DEVICES"] == ""


def test_a_script_has_no_smoke() -> None:
    script = TrainingJob.model_validate({"metadata": {"name": "demo"}, "spec": {"script": {"path": "a.py"}}})
    with pytest.raises(SpecError, match=r"--smoke needs spec\.trainer"):
        smoked(script, 3)
