"""spec.tune is checked before the first trial: keys, values, and what a sampler can do with them."""

from pathlib import Path
from typing import Any

import pytest

from ktrain.load import SpecErrors, load_job
from ktrain.templates import TEMPLATES

JOB = TEMPLATES["minimal"].read("job.yaml", job="demo")


def write(folder: Path, tune: str) -> Path:
    path = folder / "job.yaml"
    path.write_text(f"{JOB}\n  tune:\n    {tune}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("tune", "told"),
    [
        ("space: {trainer.optim.lr: {low: 1.0e-5, high: 0.1, log: true}, trainer.model.args.width: {low: 8, high: 64}}", ""),
        ("space: {spec.trainer.earlyStop.patience: {choices: [1, 2]}, env.MODE: {choices: [a, b]}}", ""),
        ("space: {}", "space is empty; name at least one key"),
        ("space: {trainer.optim.lrr: {choices: [1]}}", "did you mean 'lr'?"),
        ("space: {trainer.optmi.lr: {choices: [1]}}", "did you mean 'optim'?"),
        ("space: {trainer.optim.lr: {low: -1.0, high: 1.0}}", "spec.trainer.optim.lr is -1.0; it must be more than 0"),
        ("space: {trainer.optim.name: {choices: [adamw, sgdd]}}", "did you mean 'sgd'?"),
        ("space: {trainer.batch.micro: {low: 0.5, high: 2.5}}", "expected a whole number"),
        ("space: {metadata.name: {choices: [a]}}", "metadata.name is the same for all trials"),
        ("space: {trainer..lr: {choices: [1]}}", "'trainer..lr' is no key"),
        ("space: {trainer.optim.lr: {low: 1}}", "write choices: […], or low and high"),
        ("space: {trainer.optim.lr: {choices: []}}", "choices is empty"),
        ("space: {trainer.optim.lr: {choices: [1], low: 1}}", "choices stand alone"),
        ("space: {trainer.optim.lr: {low: 2, high: 1}}", "low is 2 and high is 1; exchange them"),
        ("space: {trainer.optim.lr: {low: 0, high: 1, log: true}}", "with log: true it must be more than 0"),
        ("space: {trainer.optim.lr: {low: 1, high: 9, log: true, step: 2}}", "log: true has no even steps"),
        ("space: {trainer.optim.lr: {low: 1, high: 6, step: 2}}", "is no multiple of step (2)"),
        ("space: {trainer.optim.lr: {low: 1, high: 3, step: 0.5}}", "write low and high as 1.0 and 3.0"),
        ("{sampler: grid, space: {trainer.optim.lr: {low: 0.1, high: 1.0}}}", "a grid needs single values"),
        ("{sampler: grid, space: {trainer.seed: {low: 0, high: 9999}, trainer.threads: {low: 1, high: 2}}}", "more than 10000"),
        ("{sampler: tpee, space: {trainer.seed: {choices: [1]}}}", "did you mean 'tpe'?"),
        ("{metric: loss, space: {trainer.seed: {choices: [1]}}}", "val/ and the name of a metric"),
    ],
)  # fmt: skip
def test_a_search_is_checked_with_the_job_file(tune: str, told: str, tmp_path: Path) -> None:
    try:
        load_job(write(tmp_path, tune))
        found = ""
    except SpecErrors as error:
        found = str(error)
        assert f"job.yaml:{len(JOB.splitlines()) + 3}:" in found
    assert told in found
    assert bool(told) == bool(found), found


def test_a_search_needs_something_to_measure(tmp_path: Path) -> None:
    path = write(tmp_path, "space: {trainer.seed: {choices: [1]}}")
    with pytest.raises(SpecErrors, match=r"tune\.metric is val/loss, but there is no trainer\.data\.val"):
        load_job(path, ["trainer.data.val=", "trainer.checkpoint.best="])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"low": 1, "high": 3}, [1, 2, 3]),
        ({"low": 0.1, "high": 0.3, "step": 0.1}, pytest.approx([0.1, 0.2, 0.3])),
        ({"choices": ["a", None]}, ["a", None]),
        ({"low": 0.1, "high": 0.3}, None),
    ],
    ids=["whole", "steps", "choices", "endless"],
)
def test_all_values_of_a_key(values: dict[str, Any], expected: Any) -> None:
    from ktrain.spec.tune import Values

    assert Values.model_validate(values).all() == expected
