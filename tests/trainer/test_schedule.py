"""Learning rates in closed form, equal to torch's where torch has them."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.optim import lr_scheduler as theirs

from ktrain.errors import BuildError, SpecError
from ktrain.spec import Trainer
from ktrain.spec.schedule import KEYS, Schedule
from ktrain.units import Span
from ktrain_trainer import plateau
from ktrain_trainer.progress import Progress
from ktrain_trainer.rate import Scheduled, decode, encode
from ktrain_trainer.schedule import CURVES, Ramp, convert, ramp


def make(name: str = "cosine", total: float = 100, unit: str = "step", **keys: Any) -> Ramp:
    spec = Schedule.model_validate({"name": name, **keys})
    return ramp(spec, total=total, to_unit=lambda span: convert(span, unit, global_batch=32, num_samples=320))


def optimizer(lr: float = 1.0) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr, momentum=0.9)


AGAINST_TORCH: dict[str, tuple[Ramp, Callable[[Any], Any]]] = {
    "constant": (make("constant"), lambda it: theirs.ConstantLR(it, factor=1.0)),
    "linear": (
        make("linear", minRatio=0.2),
        lambda it: theirs.LinearLR(it, start_factor=1.0, end_factor=0.2, total_iters=100),
    ),
    "cosine": (make("cosine", minRatio=0.1), lambda it: theirs.CosineAnnealingLR(it, T_max=100, eta_min=0.1)),
    "cosine_restarts": (
        make("cosine_restarts", period="10step", mult=2, minRatio=0.1),
        lambda it: theirs.CosineAnnealingWarmRestarts(it, T_0=10, T_mult=2, eta_min=0.1),
    ),
    "step": (make("step", every="30step"), lambda it: theirs.StepLR(it, step_size=30, gamma=0.1)),
    "multistep": (
        make("multistep", milestones=["3ep", "7ep"], gamma=0.5),
        lambda it: theirs.MultiStepLR(it, milestones=[30, 70], gamma=0.5),
    ),
    "exponential": (
        make("exponential", every="1step", gamma=0.95),
        lambda it: theirs.ExponentialLR(it, gamma=0.95),
    ),
    "polynomial": (make("polynomial", power=2.5), lambda it: theirs.PolynomialLR(it, total_iters=100, power=2.5)),
    "onecycle": (
        make("onecycle"),
        lambda it: theirs.OneCycleLR(it, max_lr=1.0, total_steps=100, cycle_momentum=False),
    ),
    "onecycle, linear": (
        make("onecycle", shape="linear", rise=0.2, divFactor=10, finalDivFactor=100),
        lambda it: theirs.OneCycleLR(
            it, 1.0, 100, pct_start=0.2, anneal_strategy="linear", cycle_momentum=False, div_factor=10, final_div_factor=100
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AGAINST_TORCH)
def test_the_rate_is_torchs(name: str) -> None:
    ours, scheduler = AGAINST_TORCH[name]
    mover = optimizer()
    other = scheduler(mover)
    for step in range(100):
        assert ours(step, 1) == pytest.approx(other.get_last_lr()[0], abs=1e-12)
        mover.step()
        other.step()


def test_inverse_sqrt_is_vaswanis() -> None:
    ours = make("inverse_sqrt", warmup="10step")
    for step in range(100):
        assert ours(step, 1) == pytest.approx((step + 1) / 10 if step < 10 else (10 / step) ** 0.5, abs=1e-12)


@pytest.mark.parametrize("shape", ["linear", "cosine", "sqrt"])
def test_wsd_rises_holds_and_falls(shape: str) -> None:
    ours = make("wsd", warmup="10step", cooldown="20step", shape=shape, minRatio=0.1)
    left = {"linear": 0.75, "cosine": (1 + math.cos(math.pi / 4)) / 2, "sqrt": 0.5}[shape]
    assert [ours(step, 1) for step in (4, 9, 10, 80)] == [0.5, 1.0, 1.0, 1.0]
    assert ours(85, 1) == pytest.approx(0.1 + 0.9 * left, abs=1e-12)
    assert ours(100, 1) == pytest.approx(0.1, abs=1e-12)


def test_restarts_warm_up_in_each_cycle_and_begin_lower() -> None:
    """As CosineAnnealingWarmupRestarts with T_up 5 and gamma 0.5, but that the warm-up ends at its last step."""
    ours = make("cosine_restarts", period="20step", warmup="5step", decay=0.5, minRatio=0.1)
    assert [ours(step, 1) for step in (0, 4, 5, 24, 44, 84)] == pytest.approx(
        [0.2, 1.0, 1.0, 0.5, 0.25, 0.1], abs=1e-12
    )
    assert ours(19, 1) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi * 14 / 15)) / 2, abs=1e-12)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_plateau_is_torchs(mode: str) -> None:
    spec = Schedule.model_validate({"name": "plateau", "mode": mode, "gamma": 0.5, "patience": 2, "minRatio": 0.05})
    progress, mover = Progress(), optimizer()
    other = theirs.ReduceLROnPlateau(mover, mode=mode, factor=0.5, patience=2, min_lr=0.05)  # type: ignore[arg-type]
    draws = torch.rand(60, generator=torch.Generator().manual_seed(3)).tolist()
    for value in draws:
        plateau.see(spec, progress, {"val/loss": value})
        other.step(value)
        assert progress.plateau_factor == pytest.approx(mover.param_groups[0]["lr"], abs=1e-12)
    assert progress.plateau_factor == 0.05


def test_every_schedule_has_a_curve_and_its_keys() -> None:
    assert set(CURVES) == set(KEYS)


def test_the_warm_up_never_wastes_a_step_and_ends_at_the_full_rate() -> None:
    ours = make("constant", warmup="4step")
    assert [ours(step, 1) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "keys",
    [
        {"name": "cosine", "warmup": "10step"},
        {"name": "cosine_restarts", "period": "2ep", "warmup": "3step", "mult": 2},
        {"name": "multistep", "milestones": ["320sample", "640sample"]},
        {"name": "wsd", "cooldown": "3ep"},
        {"name": "onecycle"},
    ],
    ids=lambda keys: str(keys["name"]),
)
def test_the_rate_depends_on_samples_and_not_on_the_size_of_steps(keys: dict[str, Any]) -> None:
    in_steps, in_samples = make(**keys), make(**keys, total=3200, unit="sample")
    assert [in_steps(step, 1) for step in range(100)] == pytest.approx(
        [in_samples(32 * step, 32) for step in range(100)]
    )


@pytest.mark.parametrize("name", ["cosine", "linear", "polynomial"])
def test_after_the_end_the_rate_stays_at_its_floor(name: str) -> None:
    assert make(name, minRatio=0.2)(500, 1) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"warmup": "101step"}, "longer than the whole run"),
        ({"name": "cosine_restarts", "period": "5step", "warmup": "5step"}, "a cycle lasts 5step"),
        ({"name": "wsd", "warmup": "50step", "cooldown": "51step"}, "cooldown of 51step"),
    ],
)
def test_parts_longer_than_the_whole_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        make(**keys)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"name": "step", "every": "1ep", "power": 2}, "power does not belong to schedule step; it takes every, gamma, minRatio"),
        ({"name": "constant", "minRatio": 0.1}, "minRatio does not belong to schedule constant"),
        ({"name": "onecycle", "warmup": "1ep"}, "warmup does not belong to schedule onecycle"),
        ({"use": "a:b", "gamma": 0.5}, "gamma does not belong to schedule a:b; it takes args"),
        ({"name": "step"}, "schedule step needs every"),
        ({"name": "cosine_restarts"}, "schedule cosine_restarts needs period"),
        ({"name": "inverse_sqrt"}, "schedule inverse_sqrt needs warmup"),
        ({"name": "cosine_restarts", "period": "0ep"}, "0ep must be more than nothing"),
        ({"name": "multistep", "milestones": []}, "milestones is empty"),
        ({"name": "multistep", "milestones": ["3ep", "2ep"]}, "each must be later"),
        ({"name": "multistep", "milestones": ["3ep", "900step"]}, "all of them in one unit"),
        ({"name": "cosine", "use": "a:b"}, "give one of them"),
        ({"name": "cosine", "args": {"T_max": 3}}, "args belong to use"),
        ({"name": "onecycle", "shape": "sqrt"}, "cosine or linear"),
        ({"name": "step", "every": "1ep", "gamma": 1.0}, "less than 1"),
    ],
)  # fmt: skip
def test_a_schedule_that_makes_no_sense_is_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Schedule.model_validate(keys)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ({"name": "step", "every": "7tok"}, "schedule.every is 7tok; tokens do not convert"),
        ({"name": "plateau"}, "there is no eval.every"),
        ({"warmup": "11ep"}, "schedule.warmup is 11ep, but the whole run lasts 10ep; shorten it"),
    ],
)
def test_a_schedule_that_does_not_fit_the_run_is_refused(schedule: dict[str, Any], words: str) -> None:
    here = {"use": "tests:given"}
    keys = {"duration": "10ep", "model": here, "data": {"train": here, "val": here}, "batch": {"global": 8, "micro": 8}}
    with pytest.raises(ValidationError, match=words):
        Trainer.model_validate({**keys, "optim": {"lr": 0.1}, "schedule": schedule})


TORCHS: dict[str, dict[str, Any]] = {
    "LambdaLR": {},
    "StepLR": {"step_size": 3},
    "MultiStepLR": {"milestones": [2, 5, 5]},
    "CyclicLR": {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 4},
    "OneCycleLR": {"max_lr": 1.0, "total_steps": 40},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
    "CosineAnnealingLR": {"T_max": 9},
    "ExponentialLR": {"gamma": 0.9},
    "PolynomialLR": {"total_iters": 9},
}


def half_of_it(step: int) -> float:
    return 1 / (1 + step)


@pytest.mark.parametrize("name", TORCHS)
def test_a_scheduler_of_torchs_goes_on_where_its_memory_was_taken(name: str) -> None:
    args = {"lr_lambda": half_of_it} if name == "LambdaLR" else TORCHS[name]
    spec = Schedule.model_validate({"use": f"torch.optim.lr_scheduler:{name}", "args": args})

    def run(rate: Scheduled, mover: torch.optim.Optimizer, steps: int) -> list[tuple[float, float]]:
        told = []
        for _ in range(steps):
            lr = rate.apply(mover, 0, 0, Progress())
            told.append((lr, mover.param_groups[0]["momentum"]))
            mover.step()
            rate.stepped()
        return told

    whole, first, second = optimizer(), optimizer(), optimizer()
    expected = run(Scheduled(spec, whole), whole, 20)
    before = Scheduled(spec, first)
    begun = run(before, first, 7)
    after = Scheduled(spec, second)
    after.restore(second, before.memory())
    assert begun + run(after, second, 13) == expected
    assert len(set(expected)) > 1


def test_what_is_no_scheduler_is_refused() -> None:
    with pytest.raises(BuildError, match="name: plateau"):
        Scheduled(Schedule.model_validate({"use": "torch.optim.lr_scheduler:ReduceLROnPlateau"}), optimizer())
    with pytest.raises(BuildError, match="gave a dict, not a torch LRScheduler"):
        Scheduled(Schedule.model_validate({"use": "builtins:dict"}), optimizer())


def test_memory_keeps_its_types() -> None:
    value = {"a": (1, 2.5), "b": Counter({3: 1}), "c": [None, True, float("inf")], 4: {"float": 1}}
    assert decode(encode(value)) == value
    assert type(decode(encode(value))["b"]) is Counter


@pytest.mark.parametrize(
    ("span", "unit", "expected"),
    [
        ("10step", "sample", 320),
        ("2ep", "sample", 640),
        ("640sample", "step", 20),
        ("5step", "step", 5),
        ("7tok", "tok", 7),
    ],
)
def test_lengths_convert_through_samples(span: str, unit: str, expected: float) -> None:
    assert convert(Span.parse(span), unit, global_batch=32, num_samples=320) == expected


def test_tokens_do_not_convert() -> None:
    with pytest.raises(SpecError, match="tokens do not convert"):
        convert(Span.parse("7tok"), "sample", global_batch=32, num_samples=1000)
