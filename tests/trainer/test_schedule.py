"""Learning rates in closed form, equal to torch's where torch has them."""

import pytest
import torch

from ktrain.errors import SpecError
from ktrain.spec.optim import Schedule
from ktrain.units import Span
from ktrain_trainer.schedule import Ramp, convert, ramp


def make(name: str = "cosine", warmup: float = 0, total: float = 100, min_ratio: float = 0.0) -> Ramp:
    return ramp(Schedule.model_validate({"name": name, "minRatio": min_ratio}), total=total, warmup=warmup)


def test_cosine_is_torchs() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100, eta_min=0.1)
    ours = make(min_ratio=0.1)
    for step in range(100):
        assert ours(step, 1) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_the_warm_up_never_wastes_a_step_and_ends_at_the_full_rate() -> None:
    ours = make("constant", warmup=4)
    assert [ours(step, 1) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_the_rate_depends_on_samples_and_not_on_the_size_of_steps() -> None:
    in_steps, in_samples = make(warmup=10, total=100), make(warmup=320, total=3200)
    assert [in_steps(step, 1) for step in range(100)] == pytest.approx(
        [in_samples(32 * step, 32) for step in range(100)]
    )


def test_after_the_end_the_rate_stays_at_its_floor() -> None:
    assert make(min_ratio=0.2)(500, 1) == pytest.approx(0.2)


def test_a_warm_up_longer_than_the_run_is_refused() -> None:
    with pytest.raises(SpecError, match="longer than the whole run"):
        make(warmup=101)


@pytest.mark.parametrize(
    ("span", "unit", "expected"),
    [
        ("10step", "sample", 320),
        ("2ep", "sample", 2000),
        ("640sample", "step", 20),
        ("5step", "step", 5),
        ("7tok", "tok", 7),
    ],
)
def test_lengths_convert_through_samples(span: str, unit: str, expected: float) -> None:
    assert convert(Span.parse(span), unit, global_batch=32, num_samples=1000) == expected


def test_tokens_do_not_convert() -> None:
    with pytest.raises(SpecError, match="tokens do not convert"):
        convert(Span.parse("7tok"), "sample", global_batch=32, num_samples=1000)
