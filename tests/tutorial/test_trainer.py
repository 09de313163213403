"""The trainer from scratch trains as ktrain's own loop does, and goes on where it was."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import ktrain_trainer as ktrain
from ktrain_trainer.notebook import seed_model
from ktrain_trainer.tutorial import checkpoint
from ktrain_trainer.tutorial.adamw import AdamWFromScratch
from ktrain_trainer.tutorial.batches import steps
from ktrain_trainer.tutorial.groups import decay_groups
from ktrain_trainer.tutorial.scaler import LossScaler
from ktrain_trainer.tutorial.schedule import warmup_cosine
from ktrain_trainer.tutorial.trainer import TrainerFromScratch

NUM_STEPS, SEED = 60, 3


class Blobs:
    """Points around four centres; 90 of them, so that epochs of 32 end inside steps."""

    def __init__(self) -> None:
        dice = torch.Generator().manual_seed(0)
        self.targets = torch.randint(0, 4, (90,), generator=dice)
        self.inputs = torch.eye(4)[self.targets] + 0.4 * torch.randn(90, 4, generator=dice)

    def __len__(self) -> int:
        return 90

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inputs[index], self.targets[index]


def net() -> nn.Module:
    seed_model(SEED)
    return nn.Sequential(nn.Linear(4, 32), nn.LayerNorm(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4))


def trainer(model: nn.Module, **changed: Any) -> TrainerFromScratch:
    settings: dict[str, Any] = {
        "loss": F.cross_entropy,
        "lr": 1e-2,
        "schedule": lambda step: warmup_cosine(step, warmup=10, total=NUM_STEPS, min_ratio=0.1),
        "clip_norm": 0.5,
        "seed": SEED,
        **changed,
    }
    return TrainerFromScratch(model, AdamWFromScratch(decay_groups(model, 0.1)), **settings)


def batches(done: int = 0, until: int = NUM_STEPS) -> Any:
    return steps(Blobs(), global_batch=32, micro=8, num_steps=until, seed=SEED, done=done)


def real(model: nn.Module, precision: str) -> list[float]:
    fitted = ktrain.fit(
        model,
        Blobs(),
        duration=f"{NUM_STEPS}step",
        batch={"global": 32, "micro": 8},
        optim={"name": "adamw", "lr": 1e-2, "args": {"weight_decay": 0.1}, "clip": {"norm": 0.5}},
        schedule={"name": "cosine", "warmup": "10step", "minRatio": 0.1},
        precision=precision,
        seed=SEED,
        log={"every": "1step"},
    )
    return [loss for _, loss in fitted.curve("loss")]


@pytest.mark.parametrize(("precision", "within"), [("fp32", 1e-5), ("bf16", 2e-2)])
def test_the_loss_curve_is_that_of_the_real_loop(precision: str, within: float) -> None:
    """Dropout, decay groups, clipping, accumulation and the schedule are all on."""
    ours, theirs = net(), net()
    scratch = trainer(ours, precision=precision).fit(batches())
    loop = real(theirs, precision)
    assert len(scratch) == len(loop) == NUM_STEPS
    assert max(abs(a - b) for a, b in zip(scratch, loop, strict=True)) <= within
    assert scratch[-1] < 0.5 * scratch[0]
    differences = zip(ours.parameters(), theirs.parameters(), strict=True)
    assert max((a - b).abs().max().item() for a, b in differences) <= within


def test_torchs_optimizer_fits_into_the_trainer_from_scratch() -> None:
    ours, theirs = net(), net()
    scratch = trainer(ours).fit(batches())
    other = trainer(theirs)
    other.optimizer = torch.optim.AdamW(decay_groups(theirs, 0.1))
    assert max(abs(a - b) for a, b in zip(scratch, other.fit(batches()), strict=True)) <= 1e-5


def test_pieces_of_any_size_give_the_gradient_of_the_whole_batch() -> None:
    """20 samples as 20, and as 8 + 8 + 4: the last piece counts half, not as much as the others."""
    data = Blobs()
    whole = [(data.inputs[:20], data.targets[:20])]
    pieces = [(data.inputs[at : at + 8][: 20 - at], data.targets[at : at + 8][: 20 - at]) for at in (0, 8, 16)]
    gradients = []
    for micro_batches in (whole, pieces):
        model = net()
        dropout = model.get_submodule("3")
        assert isinstance(dropout, nn.Dropout)
        dropout.p = 0.0  # it draws by the piece
        trainer(model, clip_norm=math.inf).train_step(micro_batches)
        gradients.append([param.grad for param in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-7)


def test_clipping_keeps_the_direction_and_shortens_to_the_norm() -> None:
    free, clipped = trainer(net(), clip_norm=math.inf), trainer(net(), clip_norm=0.01)
    (micro_batches,) = batches(until=1)
    free.train_step(micro_batches)
    clipped.train_step(micro_batches)
    pairs = list(zip(free.model.parameters(), clipped.model.parameters(), strict=True))
    long, short = (torch.cat([pair[at].grad.flatten() for pair in pairs]) for at in (0, 1))  # type: ignore[union-attr]
    assert short.norm().item() == pytest.approx(0.01, rel=1e-4)
    assert F.cosine_similarity(long, short, dim=0).item() == pytest.approx(1.0)


def test_a_step_that_overflows_is_left_out_and_the_scale_halves() -> None:
    model = net()
    before = [param.clone() for param in model.parameters()]
    fp16 = trainer(model, precision="fp16", scaler=LossScaler(2.0**40))
    stream = batches()
    fp16.train_step(next(stream))
    assert fp16.skipped == 1
    assert fp16.scaler.scale == 2.0**39
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))
    losses = fp16.fit(stream)
    assert 0 < fp16.skipped < 30
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_stopped_run_goes_on_bit_for_bit(precision: str, tmp_path: Path) -> None:
    whole, first, resumed = (trainer(net(), precision=precision, scaler=LossScaler(2.0**20)) for _ in range(3))
    losses = whole.fit(batches())
    first.fit(batches(until=25))
    checkpoint.save(first, tmp_path / "last.pt")
    checkpoint.load(resumed, tmp_path / "last.pt")
    assert resumed.fit(batches(done=resumed.step)) == losses[25:]
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_evaluation_drops_nothing_and_leaves_the_model_training() -> None:
    scratch = trainer(net())
    (micro_batches,) = batches(until=1)
    assert scratch.evaluate(micro_batches) == scratch.evaluate(micro_batches)
    assert scratch.model.training
