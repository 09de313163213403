"""Each rule speaks when it should, is silent when it should not, and says what to do."""

from typing import Any

import pytest

from ktrain.lint import RULES, lint
from ktrain.spec import TrainingJob


def job(trainer: dict[str, Any] | None = None, **spec: Any) -> TrainingJob:
    section = {
        "duration": "1000step",
        "model": {"use": "m:Net"},
        "data": {"train": {"use": "m:Data"}},
        "batch": {"global": 8, "micro": 2},
        "optim": {"lr": 0.1},
        "checkpoint": {"every": "100step"},
        **(trainer or {}),
    }
    return TrainingJob.model_validate({"metadata": {"name": "demo"}, "spec": {"trainer": section, **spec}})


def codes(made: TrainingJob) -> list[str]:
    return [finding.code for finding in lint(made)]


def test_a_good_job_is_clean() -> None:
    assert codes(job()) == []


GPU = {"cpu": 8, "memory": "8Gi", "nvidia.com/gpu": 4}


SPEAKS = [
    ("KT001", job(env={"MASTER_ADDR": "here"})),
    ("KT001", job(env={"KTRAIN_EPOCH": "7"})),
    ("KT002", job(env={"WANDB_API_KEY": "abc"})),
    ("KT002", job(env={"X": "ghp_4f9aK2mQz7LxW1vB8nT3cR6y"})),
    ("KT003", job(image="registry.example/worker", resources={"memory": "1Gi"})),
    ("KT004", job(image="registry.example/worker:1")),
    ("KT005", job(image="registry.example/worker:1", resources={"memory": "1Gi"}, nodes=2)),
    ("KT006", job(preemption={"grace": "5s"})),
    ("KT007", job({"deterministic": True}, resources=GPU, procsPerNode=2)),
    ("KT008", job(scheduling={"spot": True})),
    ("KT009", job(resources=GPU)),
    ("KT010", job({"data": {"train": {"use": "m:Data"}, "shuffle": False}})),
    ("KT011", job({"checkpoint": {"every": "8000sample"}})),
    ("KT012", job({"schedule": {"warmup": "1000step"}})),
    ("KT013", job({"parallel": {"strategy": "fsdp2"}})),
    ("KT014", job(procsPerNode=3)),
    ("KT015", job({"optim": {"name": "schedulefree_adamw", "lr": 0.1}, "schedule": {"name": "cosine"}})),
]


@pytest.mark.parametrize(
    ("code", "made"), [pytest.param(code, made, id=f"{code}-{number}") for number, (code, made) in enumerate(SPEAKS)]
)
def test_a_rule_speaks_alone(code: str, made: TrainingJob) -> None:
    assert codes(made) == [code]


@pytest.mark.parametrize(
    "made",
    [
        job(env={"PATH_TO_DATA": "/data/tokenizer-v2/with-a-long-name"}),
        job(image="registry.example/worker@sha256:" + "0" * 64, resources={"memory": "1Gi"}),
        job(preemption={"grace": "10s"}),
        job(scheduling={"spot": True, "nodeSelector": {"spot": "true"}}),
        job({"checkpoint": {"every": ["1ep", "10min"]}}),
        job({"checkpoint": {"every": "auto"}}),
        job({"schedule": {"warmup": "999step"}}),
        job(procsPerNode=2),
    ],
)
def test_what_is_right_is_left_alone(made: TrainingJob) -> None:
    assert codes(made) == []


def test_codes_are_stable_numbers() -> None:
    assert [rule.code for rule in RULES] == [f"KT{number:03d}" for number in range(1, len(RULES) + 1)]


def test_errors_come_first() -> None:
    found = lint(job(preemption={"grace": "5s"}, env={"RANK": "0"}))
    assert [it.level for it in found] == ["error", "warning"]
