"""Going on after a stop: what a checkpoint must hold, and how to write it so that it is never half a file.

What must be in it? Everything that the next step depends on, and that cannot be computed anew:

- the weights, of course;
- the optimizer's state. Without it Adam begins again with t = 0 and m = v = 0, and the loss jumps. It is twice as large as the
  weights, and it is what people forget;
- how many steps are done. Here the learning rate, the data's order and dropout's draws are functions of it, so it is all;
- the loss scale, with fp16.

How to write it? A process can be killed in the middle of a write, and then the old checkpoint is overwritten and the new one is not
whole. So write to another name, make sure that it is on the disk, and then rename: on one file system a rename is all or nothing.

How to know that it works? Not by looking at the loss. Train 20 steps; train 10, save, load into *new* objects, train 10 more: the
weights must be the same, bit for bit. That is a test of five lines (tests/tutorial), and it finds everything that was forgotten.
"""

import os
from pathlib import Path
from typing import Any

import torch

from ktrain_trainer.tutorial.groups import OptimizerFromScratch
from ktrain_trainer.tutorial.trainer import TrainerFromScratch


def save(trainer: TrainerFromScratch, path: Path) -> None:
    """Replaces the checkpoint at this path, in one moment."""
    assert isinstance(trainer.optimizer, OptimizerFromScratch)
    state = {
        "model": trainer.model.state_dict(),
        # By position: the same model gives its parameters in the same order. The real one goes by name, which also
        # survives a parameter that is added.
        "optimizer": [trainer.optimizer.state.get(param) for param in trainer.optimizer.parameters()],
        "step": trainer.step,
        "skipped": trainer.skipped,
        "scale": (trainer.scaler.scale, trainer.scaler.good_steps),
    }
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())  # on the disk, not only in the operating system's memory
    unfinished.replace(path)


def load(trainer: TrainerFromScratch, path: Path) -> None:
    """Makes a new trainer the one that was saved."""
    assert isinstance(trainer.optimizer, OptimizerFromScratch)
    state: dict[str, Any] = torch.load(path, weights_only=True)
    trainer.model.load_state_dict(state["model"])
    for param, kept in zip(trainer.optimizer.parameters(), state["optimizer"], strict=True):
        if kept is not None:
            trainer.optimizer.state[param] = kept
    trainer.step, trainer.skipped = state["step"], state["skipped"]
    trainer.scaler.scale, trainer.scaler.good_steps = state["scale"]
