"""Metrics are torchmetrics' on one process over all samples, on any number of ranks."""

import functools
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ktrain.errors import BuildError
from ktrain.spec.evaluation import METRICS, Eval
from ktrain_trainer.metrics import Metrics
from ktrain_trainer.metrics.registry import REGISTRY, check
from ktrain_trainer.task import Seen
from tests.ranks import run_ranks, values
from tests.trainer.eval_work import CASES, CLASSES, SAMPLES, SOME, draw, work


@functools.cache
def stacked(case: str) -> tuple[Tensor, Tensor]:
    samples = CASES[case][0]
    return torch.stack([it[0] for it in samples]), torch.stack([it[1] for it in samples])


def update_args(case: str, name: str) -> tuple[Any, Any]:
    """The whole data at once, as torchmetrics wants it."""
    if case == "boxes":
        samples = CASES[case][0]
        found = [{key: it[key] for key in ("boxes", "scores", "labels")} for it in samples]
        return found, [{"boxes": it["true"], "labels": it["labels"]} for it in samples]
    outputs, targets = stacked(case)
    if case == "several":
        return outputs.sigmoid(), targets.long()
    if case == "numbers":
        return outputs[:, 0], targets[:, 0]
    if case == "sequences" and name not in {"accuracy", "perplexity"}:
        texts = [
            (" ".join(map(str, one[kept].tolist())), " ".join(map(str, other[kept].tolist())))
            for one, other, kept in zip(outputs.argmax(-1), targets, targets != -100, strict=True)
        ]
        wants_lists = name in {"bleu", "sacre_bleu", "chrf"}
        return [one for one, _ in texts], [[other] if wants_lists else other for _, other in texts]
    outputs, targets = outputs.flatten(0, -2), targets.flatten()
    outputs, targets = outputs[targets != -100], targets[targets != -100]
    return (outputs[None], targets[None]) if name == "perplexity" else (outputs.softmax(-1), targets)


def reference(case: str, name: str, args: Mapping[str, Any]) -> Any:
    args = dict(args)
    entry = REGISTRY.get(args.pop("use", name))
    module, _, attribute = (entry.path if entry else CASES[case][2][name]["use"]).partition(":")
    if entry:
        args = {**entry.args, **args}
    if (
        case in {"classes", "sequences"} and module.startswith("torchmetrics") and attribute[0] != "P"
    ) or attribute == "Precision":
        told = {"num_classes": CLASSES} if not entry else {"task": "multiclass", "num_classes": CLASSES}
        args = {**told, **args} if name not in {"bleu", "sacre_bleu", "chrf", "wer", "cer"} else args
    if case == "several":
        args = {"task": "multilabel", "num_labels": 3, **args}
    metric = getattr(importlib.import_module(module), attribute)(**args)
    metric.update(*update_args(case, name))
    return metric.compute()


# torchmetrics says so of some at each construction, and the comparison makes them itself.
KEEPS_ALL = "ignore:Metric `.*` will save all"


@functools.cache
def expected() -> dict[tuple[str, str], Any]:
    return {(case, name): reference(case, name, args) for case, it in CASES.items() for name, args in it[2].items()}


def assert_equal(found: dict[str, Any]) -> None:
    for (case, name), value in expected().items():
        parts = value if isinstance(value, dict) else {name: value}
        for key, part in parts.items():
            full = f"val/{key if key.startswith(name) else f'{name}_{key}'}"
            got = {**found[case]["values"], **found[case]["details"]}[full]
            assert torch.allclose(torch.tensor(got).double(), part.double(), rtol=1e-5, equal_nan=True), (case, full)


def assert_all_predicted(found: dict[str, Any]) -> None:
    for case in CASES:
        assert [row["sample"] for row in found[case]["rows"]] == list(range(SAMPLES)), case
    outputs, targets = stacked("classes")
    assert [row["prediction"] for row in found["classes"]["rows"]] == outputs.argmax(-1).tolist()
    assert [row["target"] for row in found["classes"]["rows"]] == targets.tolist()
    assert found["classes"]["rows"][7]["scores"] == pytest.approx(outputs[7].softmax(-1).tolist())
    assert found["numbers"]["rows"][8]["output"] == pytest.approx(stacked("numbers")[0][8].tolist())
    assert found["boxes"]["rows"][9]["boxes"][0] == pytest.approx(CASES["boxes"][0][9]["boxes"][0].tolist())
    assert found["sequences"]["rows"][3]["target"] == SOME[3].tolist()


@pytest.mark.filterwarnings(KEEPS_ALL)
def test_on_one_rank_each_metric_is_torchmetrics_over_all_samples(tmp_path: Path) -> None:
    found = work(None, str(tmp_path))
    assert_equal(found)
    assert_all_predicted(found)
    assert sum(map(sum, found["classes"]["details"]["val/confusion_matrix"])) == SAMPLES


@pytest.mark.slow
@pytest.mark.filterwarnings(KEEPS_ALL)
@pytest.mark.parametrize(("size", "strategy"), [(2, "auto"), (3, "fsdp2")])
def test_on_several_ranks_each_metric_is_the_same(tmp_path: Path, size: int, strategy: str) -> None:
    ranks = values(run_ranks("tests.trainer.eval_work:work", size, str(tmp_path), strategy))
    assert_equal(ranks[0])
    assert_all_predicted(ranks[0])
    for other in ranks[1:]:
        assert {case: it["values"] for case, it in other.items()} == {
            case: it["values"] for case, it in ranks[0].items()
        }


def test_the_job_files_names_are_the_registrys_and_each_is_compared() -> None:
    used = {args.get("use", name) for _, _, metrics in CASES.values() for name, args in metrics.items()}
    assert set(METRICS) == set(REGISTRY) == {name for name in used if ":" not in name}


def test_a_binary_task_has_its_threshold_at_a_half_whatever_the_batch() -> None:
    """All logits of this batch are within [0, 1]: torchmetrics would take them for probabilities."""
    metrics = Metrics({"accuracy": {}})
    metrics.update(Seen(torch.tensor([0.2, 0.3]), torch.tensor([1.0, 1.0]), scores=torch.sigmoid), 0)
    from ktrain_trainer.world import World

    assert metrics.compute(World.alone("cpu"))[0] == {"accuracy": 1.0}


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"acuracy": {}}, "there is no metric 'acuracy'; did you mean accuracy"),
        ({"mine": {"use": "nowhere"}}, "there is no metric 'nowhere'"),
        ({"mine": {"use": 3}}, "there is no metric 3"),
        ({"loss": {"use": "f1"}}, "loss is the task's own"),
    ],
)
def test_an_unknown_metric_is_refused_by_the_job_file(metrics: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Eval.model_validate({"metrics": metrics})


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"f1": {"averge": "macro"}}, r"eval\.metrics\.f1: F1Score takes no 'averge'; it takes .*average"),
        ({"mine": {"use": "torchmetrics:Acuracy"}}, "did you mean 'Accuracy'"),
        ({"bleu": {"decode": "nowhere:decode"}}, "there is no module 'nowhere'"),
    ],
)
def test_a_metric_that_cannot_be_made_is_told_before_training(metrics: dict[str, Any], message: str) -> None:
    with pytest.raises(BuildError, match=message):
        check(metrics)


@pytest.mark.parametrize(
    ("metrics", "seen", "message"),
    [
        (
            {"f1": {"average": "best"}},
            Seen(draw(4, 3, seed=0), torch.tensor([0, 1, 2, 0])),
            r"torchmetrics says: .*average",
        ),
        ({"f1": {}}, None, "this task does not say what it saw"),
        ({"mse": {}}, Seen(["a"], ["b"]), "this metric compares tensors, but the task gave list and list"),
        ({"map": {}}, Seen(draw(4, 3, seed=0), torch.tensor([0, 1, 2, 0])), "wants boxes, scores and labels"),
        (
            {"x": {"use": "builtins:dict"}},
            Seen(draw(4, 3, seed=0), torch.tensor([0, 1, 2, 0])),
            "gave a dict, not a torchmetrics",
        ),
    ],
)
def test_a_metric_that_does_not_fit_the_task_is_told(metrics: dict[str, Any], seen: Seen | None, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        Metrics(metrics).update(seen, 0)
