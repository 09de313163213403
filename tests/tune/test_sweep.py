"""`ktrain lr-find`: what is read out of a sweep, and real ones."""

import json
import math
from pathlib import Path

import pytest

from ktrain.names import CliExit
from ktrain.tune.lr_find import Range, load_sweep
from ktrain.tune.sweep import Smooth, analyse, gamma
from tests.cli.test_cli import ktrain
from tests.tune.here import patient

RATES = [1e-5 * gamma(1e-5, 1.0, 101) ** step for step in range(101)]


def sweep(loss: dict[int, float] | None = None) -> list[dict[str, float]]:
    """The loss falls along a logistic curve whose middle is at 1e-3, and breaks away beyond 0.1."""
    fall = [2 - 1 / (1 + math.exp(-4 * (math.log10(rate) + 3))) for rate in RATES]
    return [
        {"lr": rate, "loss": (loss or {}).get(step, fall[step] + (40 * (rate - 0.1) if rate > 0.1 else 0))}
        for step, rate in enumerate(RATES)
    ]


def test_the_rates_begin_and_end_where_they_should() -> None:
    assert RATES[0] == 1e-5
    assert RATES[-1] == pytest.approx(1.0)
    assert Range(1e-7, 10, 50).rate(49) == pytest.approx(10)


def test_a_smoothed_constant_is_the_constant() -> None:
    smooth = Smooth(0.9)
    assert [smooth(3.0) for _ in range(20)] == pytest.approx([3.0] * 20)


@pytest.mark.parametrize("smooth", [0.0, 0.8, 0.9])
def test_the_steepest_fall_is_suggested_and_the_break_is_found(smooth: float) -> None:
    found = analyse(sweep(), smooth=smooth)
    assert found.suggestion == pytest.approx(1e-3, rel=0.3)
    assert found.diverged_at is not None
    assert 0.1 < found.diverged_at < 0.4
    assert found.points[-1].lr < found.diverged_at


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_sweep(loss: float) -> None:
    found = analyse(sweep({70: loss}), smooth=0.9)
    assert found.diverged_at == RATES[70]
    assert len(found.points) == 70


def test_the_first_losses_are_noise_and_end_no_sweep() -> None:
    found = analyse(sweep({2: 9.0}), smooth=0.0)
    assert found.diverged_at == analyse(sweep(), smooth=0.0).diverged_at


def test_a_loss_that_never_falls_suggests_nothing() -> None:
    assert analyse([{"lr": rate, "loss": 1.0 + step} for step, rate in enumerate(RATES[:20])]).suggestion is None
    assert analyse(sweep()[:5]).suggestion is None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sweep_with_two_ranks_suggests_a_rate_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    ktrain("init", str(folder))
    before = sorted(it.name for it in folder.iterdir())
    done = patient("lr-find", "job.yaml", "--steps", "60", "--from", "1e-5", "--to", "1000", "-o", "json", cwd=folder)
    assert done.returncode == CliExit.OK, done.stderr
    told = json.loads(done.stdout)
    rates = [it["lr"] for it in told["points"]]
    assert rates[:2] == pytest.approx([1e-5, 1e-5 * gamma(1e-5, 1000, 60)])
    assert told["diverged_at"] > rates[-1]
    assert 1e-4 < told["suggestion"] < 1
    assert {it.name for it in folder.iterdir()} - {"__pycache__"} == {*before, "lr-find.png"}


@pytest.mark.parametrize("divided", ["split={train: 0.8, val: 0.2}", "fold={k: 5, index: 0}"])
def test_a_sweep_trains_on_the_jobs_own_part_and_evaluates_nothing(divided: str, tmp_path: Path) -> None:
    ktrain("init", str(tmp_path))
    own = ["trainer.data.val=", f"trainer.data.{divided}", "trainer.checkpoint.best="]
    trainer = load_sweep(tmp_path / "job.yaml", own, Range(1e-5, 1, 60), "swept").job.spec.trainer
    assert trainer is not None
    assert trainer.data.has_val
    assert not trainer.evaluates


def test_a_wrong_range_is_one_sentence(tmp_path: Path) -> None:
    ktrain("init", str(tmp_path))
    done = ktrain("lr-find", "job.yaml", "--from", "1", "--to", "0.1", cwd=tmp_path)
    assert (done.returncode, "--from is 1 and --to is 0.1" in done.stderr) == (CliExit.USAGE, True), done.stderr
