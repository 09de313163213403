"""From scratch against torch, and what one setting changes: `python tutorial_compare.py [TABLE.md]` prints a table, in half a minute.

Ideas to try next are in docs/learn/3-engineering.md.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from ktrain_trainer.notebook import seed_model
from ktrain_trainer.tutorial.adamw import AdamWFromScratch
from ktrain_trainer.tutorial.batches import steps
from ktrain_trainer.tutorial.groups import decay_groups
from ktrain_trainer.tutorial.schedule import warmup_cosine
from ktrain_trainer.tutorial.sgd import SGDFromScratch
from ktrain_trainer.tutorial.trainer import TrainerFromScratch

NUM_STEPS = 200
HELD_OUT = 360  # of 1,797 digits

Make = Callable[[nn.Module], Any]


def adamw(model: nn.Module) -> AdamWFromScratch:
    """The optimizer of most rows."""
    return AdamWFromScratch(decay_groups(model, 0.01))


def torchs_adamw(model: nn.Module) -> torch.optim.Optimizer:
    """The same, of the library."""
    return torch.optim.AdamW(decay_groups(model, 0.01))


def sgd(model: nn.Module) -> SGDFromScratch:
    """With momentum."""
    return SGDFromScratch(model.parameters(), momentum=0.9)


def torchs_sgd(model: nn.Module) -> torch.optim.Optimizer:
    """The same, of the library."""
    return torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)


@dataclass(frozen=True)
class Trial:
    """One row of the table."""

    name: str
    make: Make = adamw
    lr: float = 3e-3
    clip_norm: float = 1.0
    precision: Any = "fp32"
    has_warmup: bool = True


TRIALS = [
    Trial("AdamW from scratch"),
    Trial("torch.optim.AdamW", torchs_adamw),
    Trial("SGD from scratch", sgd, lr=0.1),
    Trial("torch.optim.SGD", torchs_sgd, lr=0.1),
    Trial("AdamW, a tenth of the rate", lr=3e-4),
    Trial("AdamW, a hundred times the rate", lr=0.3),
    Trial("AdamW, the same without warm-up", lr=0.3, has_warmup=False),
    Trial("AdamW, clipped to 0.1", clip_norm=0.1),
    Trial("AdamW in bf16", precision="bf16"),
    Trial("AdamW in fp16 with a scaler", precision="fp16"),
]


class Digits:
    """8x8 images of handwritten digits, which scikit-learn brings along: (64,) floats in 0…1 and a class."""

    def __init__(self, *, is_train: bool) -> None:
        found = load_digits()
        part = slice(HELD_OUT, None) if is_train else slice(HELD_OUT)
        self.inputs = torch.tensor(found.data[part], dtype=torch.float32) / 16
        self.targets = torch.tensor(found.target[part])

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inputs[index], self.targets[index]


def run(trial: Trial, num_steps: int = NUM_STEPS) -> tuple[float, float, float, float]:
    """Training loss of the last step, loss and accuracy on held-out digits, milliseconds a step."""
    seed_model(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.LayerNorm(128), nn.GELU(), nn.Linear(128, 10))
    trainer = TrainerFromScratch(
        model,
        trial.make(model),
        loss=F.cross_entropy,
        lr=trial.lr,
        schedule=lambda step: warmup_cosine(step, warmup=20 if trial.has_warmup else 0, total=num_steps),
        clip_norm=trial.clip_norm,
        precision=trial.precision,
    )
    began = time.perf_counter()
    losses = trainer.fit(steps(Digits(is_train=True), global_batch=64, micro=32, num_steps=num_steps, seed=0))
    milliseconds = (time.perf_counter() - began) / num_steps * 1e3
    held_out = Digits(is_train=False)
    with torch.no_grad():
        accuracy = (model(held_out.inputs).argmax(-1) == held_out.targets).float().mean().item()
    return losses[-1], trainer.evaluate([(held_out.inputs, held_out.targets)]), accuracy, milliseconds


def table(num_steps: int = NUM_STEPS) -> str:
    """A Markdown table, a trial a row."""
    rows = ["| trial | training loss | held-out loss | accuracy | ms a step |", "|---|---|---|---|---|"]
    for trial in TRIALS:
        loss, held_out, accuracy, milliseconds = run(trial, num_steps)
        rows.append(f"| {trial.name} | {loss:.5f} | {held_out:.5f} | {accuracy:.3f} | {milliseconds:.2f} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    text = table()
    print(text, end="")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
