"""From the job file and its training data to the order of the samples."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ktrain.errors import DataError
from ktrain.spec import Trainer
from ktrain.spec.sampling import Curriculum, Mix, Sampler
from ktrain_trainer import build, orders
from ktrain_trainer.columns import column
from ktrain_trainer.plan import Order
from ktrain_trainer.streaming import Blockwise, Streamed

_WHERE = "spec.trainer.data"


def make_order(spec: Trainer, source: Any) -> Order | None:
    """None: shuffled, or as the dataset has it."""
    if spec.data.sampler:
        return _sampler(spec.data.sampler, source, spec)
    if spec.data.curriculum:
        return _curriculum(spec.data.curriculum, source, spec)
    if spec.data.mix:
        return _mix(spec.data.mix, source, spec)
    if isinstance(source, Streamed) and spec.data.shuffle:
        return Blockwise(source.block, spec.seed)
    return None


def _sampler(sampler: Sampler, source: Any, spec: Trainer) -> Order:
    where = f"{_WHERE}.sampler"
    values = column(source, sampler.column, where)
    if sampler.name == "bucket":
        return orders.Bucket(_lengths(values, sampler.column, where), spec.batch.micro_size, sampler.window, spec.seed)
    weights = _weights(sampler, values, where)
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum() > 0:
        bad = int(np.argmin(np.where(np.isfinite(weights), weights, -np.inf)))
        raise DataError(
            f"the weight of sample {bad} is {values[bad]!r}; weights are finite, not negative, and not all zero", where
        )
    return orders.Weighted(np.cumsum(weights), spec.seed)


def _weights(sampler: Sampler, values: Sequence[Any], where: str) -> orders.Numbers:
    if sampler.weights is None:
        return _numbers(values, sampler.column, where)
    if sampler.weights == "balanced":
        _, at, counts = np.unique(np.array([str(value) for value in values]), return_inverse=True, return_counts=True)
        return 1.0 / counts[at]
    unknown = next((value for value in values if str(value) not in sampler.weights), None)
    if unknown is not None:
        raise DataError(f"{sampler.column!r} has the value {unknown!r}, which has no weight", f"{where}.weights")
    return np.array([sampler.weights[str(value)] for value in values])


def _curriculum(curriculum: Curriculum, source: Any, spec: Trainer) -> Order:
    where = f"{_WHERE}.curriculum.score"
    if ":" in curriculum.score:
        function = build.resolve(curriculum.score, where)
        scores = _numbers([float(function(source[index])) for index in range(len(source))], curriculum.score, where)
    else:
        scores = _lengths(column(source, curriculum.score, where), curriculum.score, where)
    size = {"ep": len(source), "step": spec.batch.global_, "sample": 1}[curriculum.over.unit]
    return orders.Curriculum(
        np.argsort(scores, kind="stable").astype(np.int64),
        curriculum.start,
        curriculum.end,
        max(1, round(curriculum.over.value * size)),
        curriculum.shape == "sqrt",
        spec.seed,
    )


def _mix(mix: Mix, source: Any, spec: Trainer) -> Order:
    weights = [mix.weight, *(part.weight for part in mix.others.values())]
    width = spec.batch.micro_size if mix.by == "micro" else 1
    return orders.Mix(source.sizes, weights, width=width, seed=spec.seed)


def _lengths(values: Sequence[Any], name: str, where: str) -> orders.Numbers:
    """Numbers as they are, of texts and lists their length."""
    if len(values) and hasattr(values[0], "__len__"):
        return np.array([len(value) for value in values], np.float64)
    return _numbers(values, name, where)


def _numbers(values: Sequence[Any], name: str, where: str) -> orders.Numbers:
    try:
        found = np.array([float(value) for value in values])
    except (TypeError, ValueError):
        raise DataError(f"{name!r} holds more than numbers", where) from None
    if np.isnan(found).any():
        raise DataError(f"{name!r} of sample {int(np.argmax(np.isnan(found)))} is no number (NaN)", where)
    return found
