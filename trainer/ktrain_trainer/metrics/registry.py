"""Metrics by short name: torchmetrics' class, and what of a micro-batch it is given."""

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ktrain.errors import BuildError
from ktrain.extras import require
from ktrain_trainer import build
from ktrain_trainer.metrics import shape
from ktrain_trainer.metrics.shape import Shape
from ktrain_trainer.tasks.out import Seen

WHERE: Final = "spec.trainer.eval.metrics"


@dataclass(frozen=True, slots=True)
class Entry:
    """A class of torchmetrics, the shape of what it is updated with, and arguments that make the name true."""

    path: str
    shape: Shape
    args: Mapping[str, Any] = field(default_factory=dict)


def _by_class(name: str, shape_: Shape = shape.classes) -> Entry:
    return Entry(f"torchmetrics:{name}", shape_)


REGISTRY: Final[dict[str, Entry]] = {
    "accuracy": _by_class("Accuracy"),
    "precision": _by_class("Precision"),
    "recall": _by_class("Recall"),
    "f1": _by_class("F1Score"),
    "fbeta": _by_class("FBetaScore"),
    "specificity": _by_class("Specificity"),
    "jaccard": _by_class("JaccardIndex"),
    "hamming": _by_class("HammingDistance"),
    "cohen_kappa": _by_class("CohenKappa"),
    "matthews": _by_class("MatthewsCorrCoef"),
    "confusion_matrix": _by_class("ConfusionMatrix"),
    "auroc": _by_class("AUROC", shape.scores),
    "average_precision": _by_class("AveragePrecision", shape.scores),
    "calibration_error": _by_class("CalibrationError", shape.scores),
    "mse": Entry("torchmetrics:MeanSquaredError", shape.numbers),
    "rmse": Entry("torchmetrics:MeanSquaredError", shape.numbers, {"squared": False}),
    "mae": Entry("torchmetrics:MeanAbsoluteError", shape.numbers),
    "mape": Entry("torchmetrics:MeanAbsolutePercentageError", shape.numbers),
    "r2": Entry("torchmetrics:R2Score", shape.numbers),
    "explained_variance": Entry("torchmetrics:ExplainedVariance", shape.numbers),
    "pearson": Entry("torchmetrics:PearsonCorrCoef", shape.columns),
    "spearman": Entry("torchmetrics:SpearmanCorrCoef", shape.columns),
    "perplexity": Entry("torchmetrics.text:Perplexity", shape.tokens),
    "bleu": Entry("torchmetrics.text:BLEUScore", shape.references),
    "sacre_bleu": Entry("torchmetrics.text:SacreBLEUScore", shape.references),
    "chrf": Entry("torchmetrics.text:CHRFScore", shape.references),
    "wer": Entry("torchmetrics.text:WordErrorRate", shape.texts),
    "cer": Entry("torchmetrics.text:CharErrorRate", shape.texts),
    "map": Entry("torchmetrics.detection:MeanAveragePrecision", shape.boxes, {"backend": "faster_coco_eval"}),
}


@dataclass(frozen=True, slots=True)
class Built:
    """A metric with the way to update it."""

    metric: Any
    shape: Shape
    options: Mapping[str, Any]

    def update(self, seen: Seen) -> None:
        """Adds a micro-batch."""
        self.metric.update(*self.shape(seen, self.options))


def check(metrics: Mapping[str, Mapping[str, Any]]) -> None:
    """BuildError when a metric cannot be made; as far as it can be told without a batch."""
    for name, given in metrics.items():
        entry, args = _entry(name, given)
        kind = build.resolve(entry.path, f"{WHERE}.{name}.use")
        if entry.shape.option in args:
            build.resolve(args[entry.shape.option], f"{WHERE}.{name}.{entry.shape.option}")
        _check_args(kind, {it: value for it, value in args.items() if it != entry.shape.option}, f"{WHERE}.{name}")


def make(name: str, given: Mapping[str, Any], first: Seen) -> Built:
    """The metric of a key of eval.metrics, fitted to the first outputs; BuildError names what is wrong with it."""
    entry, args = _entry(name, given)
    kind = build.resolve(entry.path, f"{WHERE}.{name}.use")
    options = {}
    if entry.shape.option in args:
        at = entry.shape.option
        options[at] = build.resolve(args.pop(at), f"{WHERE}.{name}.{at}")
    _check_args(kind, args, f"{WHERE}.{name}")
    found = entry.shape.found(first, args)
    known = _parameters(kind)
    args = {**{key: value for key, value in found.items() if key in known}, **args}
    try:
        with warnings.catch_warnings():
            # What keeps all outputs is told in docs/evaluation.md, and not at each start by every rank.
            warnings.filterwarnings("ignore", "Metric `.*` will save all", UserWarning)
            metric = kind(**args)
    except (TypeError, ValueError, ModuleNotFoundError) as error:
        raise BuildError(f"torchmetrics says: {error}", f"{WHERE}.{name}") from error
    _check_metric(metric, entry.path, f"{WHERE}.{name}")
    return Built(metric, entry.shape, {**options, "task": args.get("task")})


def _entry(name: str, given: Mapping[str, Any]) -> tuple[Entry, dict[str, Any]]:
    require("torchmetrics", "metrics", "an evaluation with metrics", WHERE)
    args = dict(given)
    use = args.pop("use", name)
    entry = REGISTRY[use] if use in REGISTRY else Entry(use, shape.own)
    return entry, {**entry.args, **args}


def _check_args(kind: Any, args: Mapping[str, Any], where: str) -> None:
    if not callable(kind):
        raise BuildError(f"this is a {type(kind).__name__}, not a metric", f"{where}.use")
    known = _parameters(kind)
    for name in args:
        if name not in known:
            raise BuildError(f"{kind.__name__} takes no {name!r}; it takes {', '.join(sorted(known))}", where)


def _parameters(kind: Any) -> set[str]:
    """Of its own; torchmetrics' wrappers of three classes have theirs at __new__."""
    maker = kind.__new__ if isinstance(kind, type) and "__new__" in vars(kind) else kind
    parameters = inspect.signature(maker).parameters.values()
    return {it.name for it in parameters if it.kind is not inspect.Parameter.VAR_KEYWORD} - {"cls", "process_group"}


def _check_metric(metric: Any, path: str, where: str) -> None:
    from torchmetrics import Metric
    from torchmetrics.utilities import dim_zero_mean

    if not isinstance(metric, Metric):
        raise BuildError(f"{path} gave a {type(metric).__name__}, not a torchmetrics.Metric", where)
    for part in metric.modules():
        if isinstance(part, Metric) and any(it is dim_zero_mean for it in part._reductions.values()):
            raise BuildError(
                f"{type(part).__name__} keeps means of batches, which are not exact when batches are uneven; "
                "use a metric that keeps sums",
                where,
            )
