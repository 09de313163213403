"""Every loss by name is torch's mean, however the batch is cut into micro-batches."""

import logging
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ktrain.errors import BuildError, DataError
from ktrain.spec.evaluation import EarlyStop
from ktrain.spec.task import LOSSES, TaskSpec
from ktrain_trainer import losses, task

CLASSES = 4
WEIGHTS = [1.0, 2.0, 0.5, 3.0]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


LOGITS = draw(11, CLASSES)
LABELS = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 3, 3, 1])
SOME = LABELS.clone().index_fill_(0, torch.tensor([0, 1, 2, 8]), -100)
NUMBERS = draw(11, 3, seed=1)
ZERO_ONE = (draw(11, 3, seed=2) > 0).float()
PAIR, THIRD = (draw(11, 5, seed=3), draw(11, 5, seed=4)), draw(11, 5, seed=5)
SIGNS = torch.where(LABELS > 1, 1.0, -1.0)


def focal_mean(outputs: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    from torchvision.ops import sigmoid_focal_loss

    mean: Tensor = sigmoid_focal_loss(outputs, targets, alpha=alpha, gamma=gamma, reduction="mean")
    return mean


def tensors(args: dict[str, Any]) -> dict[str, Any]:
    return {name: torch.tensor(it) if isinstance(it, list) else it for name, it in args.items()}


# name, arguments, outputs, targets, torch's function whose mean it must be
TABLE: list[tuple[str, dict[str, Any], Any, Any, Any]] = [
    ("cross_entropy", {}, LOGITS, LABELS, F.cross_entropy),
    ("cross_entropy", {}, LOGITS, SOME, F.cross_entropy),
    ("cross_entropy", {"ignore_index": 3}, LOGITS, LABELS, F.cross_entropy),
    ("cross_entropy", {"weight": WEIGHTS}, LOGITS, LABELS, F.cross_entropy),
    ("cross_entropy", {"weight": WEIGHTS, "label_smoothing": 0.1}, LOGITS, SOME, F.cross_entropy),
    ("cross_entropy", {"label_smoothing": 0.2}, LOGITS, LABELS, F.cross_entropy),
    ("cross_entropy", {"weight": WEIGHTS}, LOGITS, LOGITS.softmax(-1), F.cross_entropy),
    ("nll", {"weight": WEIGHTS}, LOGITS.log_softmax(-1), SOME, F.nll_loss),
    ("nll", {}, LOGITS.log_softmax(-1), LABELS, F.nll_loss),
    ("mse", {}, NUMBERS, ZERO_ONE, F.mse_loss),
    ("l1", {}, NUMBERS, ZERO_ONE, F.l1_loss),
    ("smooth_l1", {"beta": 0.5}, NUMBERS, ZERO_ONE, F.smooth_l1_loss),
    ("huber", {"delta": 0.5}, NUMBERS, ZERO_ONE, F.huber_loss),
    ("bce_with_logits", {"pos_weight": [1.0, 2.0, 3.0]}, NUMBERS, ZERO_ONE, F.binary_cross_entropy_with_logits),
    ("focal", {"gamma": 1.5}, NUMBERS, ZERO_ONE, focal_mean),
    ("cosine_embedding", {"margin": 0.2}, PAIR, SIGNS, F.cosine_embedding_loss),
    ("triplet_margin", {"margin": 0.7}, (*PAIR, THIRD), LABELS, lambda out, _, **args: F.triplet_margin_loss(*out, **args)),
    (
        "kl_div", {"log_target": True}, LOGITS.log_softmax(-1), draw(11, CLASSES, seed=9).log_softmax(-1),
        lambda out, target, **args: F.kl_div(out, target, reduction="batchmean", **args),
    ),
]  # fmt: skip


def cut(value: Any, begin: int, end: int) -> Any:
    return tuple(it[begin:end] for it in value) if isinstance(value, tuple) else value[begin:end]


@pytest.mark.parametrize(
    ("name", "args", "outputs", "targets", "torchs"), TABLE, ids=[f"{at} {it[0]}" for at, it in enumerate(TABLE)]
)
def test_over_uneven_micro_batches_it_is_torchs_mean(
    name: str, args: dict[str, Any], outputs: Any, targets: Tensor, torchs: Any
) -> None:
    made = task.make(TaskSpec.model_validate({"loss": {"use": name, "args": args}}))
    total, weight = 0.0, 0.0
    for begin, end in ((0, 2), (2, 3), (3, 8), (8, 11)):
        out = made(nn.Identity(), (cut(outputs, begin, end), targets[begin:end]))
        total, weight = total + float(out.loss_sum), weight + float(out.weight)
    given = outputs if isinstance(outputs, tuple) and name == "cosine_embedding" else (outputs,)
    assert total / weight == pytest.approx(float(torchs(*given, targets, **tensors(args))), rel=1e-5)


def test_every_loss_is_in_the_table() -> None:
    assert set(losses.KINDS) == {row[0] for row in TABLE} | {"info_nce"}


def test_info_nce_finds_each_query_its_own_key_in_the_micro_batch() -> None:
    query, key = PAIR
    made = task.make(
        TaskSpec.model_validate({"loss": {"use": "info_nce", "args": {"temperature": 0.5, "symmetric": False}}})
    )
    out = made(nn.Identity(), (PAIR, LABELS))
    similar = torch.stack([F.cosine_similarity(one[None], key) for one in query]) / 0.5
    expected = -torch.stack([row.log_softmax(0)[at] for at, row in enumerate(similar)]).mean()
    assert float(out.loss_sum) / float(out.weight) == pytest.approx(float(expected), rel=1e-5)
    assert float(losses.info_nce(key, key)) < float(losses.info_nce(query, key))


def test_accuracy_counts_targets_and_not_their_weights() -> None:
    made = task.make(TaskSpec.model_validate({"loss": {"args": {"weight": WEIGHTS}}}))
    with torch.no_grad():
        out = made(nn.Identity(), (torch.eye(4), torch.tensor([0, 1, -100, 0])))
    hits, count = out.logs["accuracy"]
    assert (float(hits), float(count), float(out.weight)) == (2, 3, 4)


def test_a_softmax_before_cross_entropy_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    made = task.make(TaskSpec.model_validate({}))
    with caplog.at_level(logging.WARNING, "ktrain"):
        task.make(TaskSpec.model_validate({}))(nn.Identity(), (LOGITS, LABELS))
        assert not caplog.records
        for _ in range(2):
            made(nn.Softmax(-1), (LOGITS, LABELS))
    assert len(caplog.records) == 1
    assert "cross_entropy takes the softmax itself" in caplog.text


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ({"args": {"weight": "heavy"}}, "weight is 'heavy'; it must be a list of numbers"),
        ({"args": {"weight": [0, 0]}}, "not all 0"),
        ({"args": {"label_smooting": 0.1}}, "did you mean 'label_smoothing'"),
        ({"args": {"target": 1}}, "the trainer gives 'target'"),
        ({"args": {"size_average": True}}, "the trainer gives 'size_average'"),
        ({"use": "info_nce", "args": {"reduction": "mean"}}, "reduction is always 'sum'"),
    ],
    ids=["no numbers", "no weight", "misspelled", "target", "old reduction", "reduction"],
)
def test_wrong_arguments_are_told_before_the_first_step(loss: dict[str, Any], message: str) -> None:
    with pytest.raises(BuildError, match=message):
        task.make(TaskSpec.model_validate({"loss": loss}))


@pytest.mark.parametrize(
    ("loss", "batch", "message"),
    [
        (
            {"args": {"weight": [1, 2]}},
            (LOGITS, LABELS),
            "weight has 2 numbers, but the model's outputs have 4 classes",
        ),
        ({"use": "info_nce"}, (LOGITS, LABELS), "compares 2 tensors, but the model gave a Tensor; return a tuple of 2"),
        ({"use": "triplet_margin"}, (PAIR, LABELS), "compares 3 tensors, but the model gave a tuple of 2"),
    ],
    ids=["class weights", "one tensor", "a pair"],
)
def test_a_model_that_does_not_fit_its_loss_is_told(loss: dict[str, Any], batch: Any, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        task.make(TaskSpec.model_validate({"loss": loss}))(nn.Identity(), batch)


def test_a_batch_of_transformers_names_its_labels() -> None:
    class Classifier(nn.Module):
        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
            return type("Output", (), {"logits": input_ids * attention_mask})

    batch = {"input_ids": LOGITS, "attention_mask": torch.ones(11, 1), "labels": LABELS}
    out = task.make(TaskSpec.model_validate({}))(Classifier(), batch)
    assert float(out.loss_sum) / float(out.weight) == pytest.approx(float(F.cross_entropy(LOGITS, LABELS)))


def test_nothing_may_watch_test_data() -> None:
    with pytest.raises(ValueError, match=r"test/f1 is measured on test data, .* is no test any more; watch val/f1"):
        EarlyStop(monitor="test/f1")


def test_the_job_file_knows_the_same_losses() -> None:
    assert tuple(losses.KINDS) == LOSSES


def test_a_label_that_the_model_has_no_output_for_is_told() -> None:
    compare = task.make(TaskSpec.model_validate({}))
    with pytest.raises(
        DataError, match=r"a label is out of range \(Target 7 is out of bounds.\), for the model gives 2 classes"
    ):
        compare(nn.Linear(3, 2), (torch.randn(4, 3), torch.tensor([0, 1, 7, 0])))
