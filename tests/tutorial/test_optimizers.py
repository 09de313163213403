"""The optimizers, the schedule and the scaler from scratch are torch's."""

from typing import Any

import pytest
import torch
from torch import nn

from ktrain_trainer.tutorial.adamw import AdamWFromScratch
from ktrain_trainer.tutorial.groups import OptimizerFromScratch, decay_groups
from ktrain_trainer.tutorial.scaler import LossScaler
from ktrain_trainer.tutorial.schedule import step_decay, warmup_cosine
from ktrain_trainer.tutorial.sgd import SGDFromScratch

CASES = [
    pytest.param(SGDFromScratch, torch.optim.SGD, {}, id="sgd"),
    pytest.param(SGDFromScratch, torch.optim.SGD, {"momentum": 0.9}, id="sgd momentum"),
    pytest.param(SGDFromScratch, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.1}, id="sgd decay"),
    pytest.param(AdamWFromScratch, torch.optim.AdamW, {}, id="adamw"),
    pytest.param(AdamWFromScratch, torch.optim.AdamW, {"weight_decay": 0.0}, id="adamw no decay"),
    pytest.param(
        AdamWFromScratch,
        torch.optim.AdamW,
        {"betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.3},
        id="adamw all settings",
    ),
]


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.LayerNorm(16), nn.Linear(16, 1))


def train(model: nn.Module, optimizer: Any) -> list[torch.Tensor]:
    """100 steps of regression; a parameter has no gradient in the first ten, as if it were thawed then."""
    dice = torch.Generator().manual_seed(1)
    late = next(iter(model.parameters()))
    for step in range(100):
        inputs = torch.randn(8, 6, generator=dice).to(late.dtype)
        optimizer.zero_grad()
        nn.functional.mse_loss(model(inputs), inputs.sum(1, keepdim=True)).backward()  # type: ignore[no-untyped-call]
        if step < 10:
            late.grad = None
        optimizer.step()
    return [param.detach() for param in model.parameters()]


@pytest.mark.parametrize(
    ("dtype", "lr", "within"), [(torch.float32, 1e-3, 1e-6), (torch.float64, 1e-2, 1e-12)], ids=["fp32", "fp64"]
)
@pytest.mark.parametrize(("ours", "torchs", "args"), CASES)
def test_an_optimizer_from_scratch_is_torchs_over_100_steps(
    ours: Any, torchs: Any, args: dict[str, Any], dtype: torch.dtype, lr: float, within: float
) -> None:
    """In fp64 too: with ten times the rate, rounding alone makes fp32 differ by 2e-6."""
    one, other = net().to(dtype), net().to(dtype)
    scratch = train(one, ours(one.parameters(), lr=lr, **args))
    reference = train(other, torchs(other.parameters(), lr=lr, foreach=False, **args))
    assert difference(scratch, reference) <= within
    assert difference(scratch, [param.to(dtype) for param in net().parameters()]) > 1e-2


def difference(left: list[torch.Tensor], right: list[torch.Tensor]) -> float:
    return max((one - other).abs().max().item() for one, other in zip(left, right, strict=True))


def test_groups_keep_decay_from_biases_and_norms() -> None:
    one, other = net(), net()
    scratch = train(one, AdamWFromScratch(decay_groups(one, 0.5), lr=1e-3))
    reference = train(other, torch.optim.AdamW(decay_groups(other, 0.5), lr=1e-3, foreach=False))
    assert difference(scratch, reference) <= 1e-6
    without = [param.shape for param in decay_groups(one, 0.5)[1]["params"]]
    assert without == [(16,), (16,), (16,), (1,)]  # a bias, the norm's scale and shift, the last bias


def test_an_optimizer_without_a_formula_says_so() -> None:
    param = nn.Parameter(torch.ones(1))
    param.grad = torch.ones(1)
    with pytest.raises(NotImplementedError):
        OptimizerFromScratch([param]).step()


def rates(scheduler: Any, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    """torch's, step by step."""
    told = []
    for _ in range(steps):
        told.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return told


def test_the_schedules_are_torchs() -> None:
    def fresh() -> torch.optim.Optimizer:
        return torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)

    optimizer = fresh()
    cosine = rates(torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40), optimizer, 40)
    assert [warmup_cosine(step, warmup=0, total=40) for step in range(40)] == pytest.approx(cosine)
    optimizer = fresh()
    steps = rates(torch.optim.lr_scheduler.StepLR(optimizer, 7, 0.5), optimizer, 40)
    assert [step_decay(step, every=7, gamma=0.5) for step in range(40)] == pytest.approx(steps)


def test_the_warm_up_ends_at_the_full_rate() -> None:
    assert [warmup_cosine(step, warmup=4, total=10) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert warmup_cosine(10, warmup=4, total=10, min_ratio=0.1) == pytest.approx(0.1)


def test_the_scaler_is_torchs() -> None:
    """Some gradients overflow; both skip the same steps, and end with the same scale and the same weights."""
    scale, interval = 2.0**14, 5

    def gradients(step: int) -> float:
        return 1e36 if step in {3, 4, 11} else 1.0 + step

    ours = nn.Parameter(torch.ones(2))
    theirs = nn.Parameter(torch.ones(2))
    scaler = LossScaler(scale, growth_interval=interval)
    reference = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=interval)
    scratch, optimizer = SGDFromScratch([ours], lr=1e-2), torch.optim.SGD([theirs], lr=1e-2)
    for step in range(30):
        scratch.zero_grad()
        optimizer.zero_grad()
        scaler.scaled((ours * gradients(step)).sum()).backward()  # type: ignore[no-untyped-call]
        is_finite = scaler.unscale([ours])
        if is_finite:
            scratch.step()
        scaler.update(is_finite=is_finite)
        reference.scale((theirs * gradients(step)).sum()).backward()  # type: ignore[no-untyped-call]
        reference.step(optimizer)
        reference.update()
        assert scaler.scale == reference.get_scale()
    assert torch.equal(ours, theirs)
    assert scaler.scale != scale
