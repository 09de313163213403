"""Evaluations on any number of ranks: 37 samples in micro-batches of 4, so that no number of ranks shares them evenly."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ktrain.history import Token
from ktrain.spec import Trainer
from ktrain.storage import open_storage
from ktrain_trainer import evaluate, predictions, task
from ktrain_trainer.assemble import Parts, assemble
from ktrain_trainer.data import Fetch, Loader
from ktrain_trainer.place import Place
from ktrain_trainer.stop import StopFlag
from ktrain_trainer.world import World
from tests.ranks import Rank

SAMPLES = 37
CLASSES = 5
HERE = {"use": "tests:given"}


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels(*shape: int, high: int = CLASSES, seed: int = 1) -> Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Boxes:
    """A task whose model finds what the batch says that it finds."""

    def __call__(self, model: nn.Module, batch: Any) -> task.Out:
        """One box per image, at twice the place."""
        found = [{name: it[name] for name in ("boxes", "scores", "labels")} for it in batch]
        targets = [{"boxes": it["true"], "labels": it["labels"]} for it in batch]
        loss = sum((p.sum() for p in model.parameters()), torch.zeros(()))
        return task.Out(loss, len(batch), seen=task.Seen(found, targets))


def boxes() -> list[Any]:
    """An image each, of two classes, found more or less well."""
    found = []
    for at in range(SAMPLES):
        true = torch.tensor([[10.0, 10.0, 30.0 + at, 40.0]])
        box = true + draw(1, 4, seed=at) * 4
        found.append({"true": true, "boxes": box, "scores": torch.rand(1, generator=torch.Generator().manual_seed(at)),
                      "labels": torch.tensor([at % 2])})  # fmt: skip
    return found


SOME = labels(SAMPLES, 6).masked_fill_(labels(SAMPLES, 6, high=4, seed=2) == 0, -100)
# name → samples, loss, metrics
CASES: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "classes": (
        list(zip(draw(SAMPLES, CLASSES, seed=0), labels(SAMPLES), strict=True)),
        "cross_entropy",
        {
            "accuracy": {"average": "macro"}, "f1": {"average": "macro"}, "precision": {"average": "weighted"},
            "recall": {"average": "none"}, "confusion_matrix": {}, "auroc": {}, "average_precision": {},
            "calibration_error": {}, "matthews": {}, "jaccard": {}, "cohen_kappa": {}, "specificity": {}, "fbeta": {"beta": 2.0},
            "top2": {"use": "accuracy", "top_k": 2},
            "own": {"use": "torchmetrics.classification:MulticlassF1Score", "average": "micro"},
        },
    ),
    "sequences": (
        list(zip(draw(SAMPLES, 6, CLASSES, seed=3), SOME, strict=True)),
        "cross_entropy",
        {"accuracy": {}, "perplexity": {}, "bleu": {"n_gram": 2}, "sacre_bleu": {"n_gram": 2}, "chrf": {}, "wer": {}, "cer": {}},
    ),
    "several": (
        list(zip(draw(SAMPLES, 3, seed=4) / 4, labels(SAMPLES, 3, high=2).float(), strict=True)),
        "bce_with_logits",
        {"f1": {"average": "macro"}, "hamming": {}, "auroc": {}},
    ),
    "numbers": (
        list(zip(draw(SAMPLES, 1, seed=5), draw(SAMPLES, 1, seed=5) + draw(SAMPLES, 1, seed=6), strict=True)),
        "mse",
        {name: {} for name in ("mse", "rmse", "mae", "mape", "r2", "explained_variance", "pearson", "spearman")},
    ),
    "boxes": (boxes(), "boxes", {"map": {"class_metrics": True}}),
}  # fmt: skip


class Same(nn.Module):
    """Gives what it is given, and has a parameter so that it can be spread."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(4))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.one.mean()


def spec(metrics: Mapping[str, Any], loss: str, strategy: str) -> Trainer:
    """A job that is evaluated only."""
    return Trainer.model_validate(
        {
            "duration": "1step", "model": HERE, "data": {"train": HERE, "val": HERE}, "optim": {"lr": 0.1},
            "batch": {"global": 4, "micro": 4}, "parallel": {"strategy": strategy},
            "task": {"loss": {"use": loss if loss != "boxes" else "mse"}},
            "eval": {"metrics": metrics, "predictions": True},
        }
    )  # fmt: skip


def work(rank: Rank | None, folder: str, strategy: str = "auto") -> dict[str, Any]:
    """Evaluates every case twice; what each gives, and its predictions."""
    torch.set_num_threads(1)
    if rank is None:
        world = World.alone("cpu")
    else:
        rank.join_gloo()
        world = World(rank.rank, rank.size, rank.rank, torch.device("cpu"), torch.distributed.group.WORLD, rank.store)
    return {name: one(name, world, folder, strategy) for name in CASES}


def one(name: str, world: World, folder: str, strategy: str) -> dict[str, Any]:
    """One case."""
    samples, loss, metrics = CASES[name]
    made = spec(metrics, loss, strategy)
    loader = Loader(Fetch(samples, list if loss == "boxes" else torch.utils.data.default_collate, 0))
    the_task = Boxes() if loss == "boxes" else task.make(made.task)
    where = Place(open_storage(f"{folder}/{name}"), Token(1, world.size), name, Path(folder))
    with StopFlag().listening() as stop:
        run = assemble(made, Parts(Same(), the_task, loader, loader), world, where, stop=stop)
        names = evaluate.metric_names(run)
        first = evaluate.evaluate(run)
        again = evaluate.evaluate(run)
        run.journal.close()
    assert first is not None
    assert json.dumps(first) == json.dumps(again), "nothing is left of the evaluation before"
    assert set(names) == set(first)
    rows = predictions.read(Path(folder) / name / "predictions" / "val" / "step-0000000000") if world.is_first else []
    return {"values": first, "details": dict(run.details), "rows": rows}
