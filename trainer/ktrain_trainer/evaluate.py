"""Evaluation on this rank's share of the validation data, each sample exactly once, reduced by sums."""

from collections import defaultdict
from itertools import chain, repeat
from typing import Final

import torch

from ktrain.errors import DataError
from ktrain_trainer import rng
from ktrain_trainer.average import for_evaluation
from ktrain_trainer.data import Batch, to_device
from ktrain_trainer.run import Feed, Run
from ktrain_trainer.task import Out

POLL_EVERY: Final = 16  # passes between two looks at the stop flag: a signal must not wait for a long evaluation


def evaluate(run: Run) -> dict[str, float] | None:
    """Means by name (`val/loss`, …), the same on every rank; None when all ranks were told to go meanwhile."""
    assert run.val is not None
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    run.metrics.reset()
    if run.predictions:
        run.predictions.begin()
    run.model.eval()
    ema = run.ema if run.spec.eval.weights == "ema" else None
    try:
        with torch.no_grad(), for_evaluation(run.params, run.optimizer, ema, run.parallel):
            if not _passes(run, run.val, sums):
                return None
    finally:
        run.model.train()
    means = _reduce(run, sums)
    values, details = run.metrics.compute(run.world)
    means |= {f"{run.split}/{name}": value for name, value in values.items()}
    run.details = {f"{run.split}/{name}": value for name, value in details.items()}
    if run.predictions:
        run.predictions.finish(run.progress.step, run.split)
    run.progress.owes_eval = False
    run.progress.evaluated_step = run.progress.step
    run.progress.metrics = means
    return means


def metric_names(run: Run) -> list[str]:
    """What evaluation will give, learnt from one micro-batch. Every rank runs it, as sharded parameters demand."""
    assert run.val is not None
    run.model.eval()
    with torch.no_grad():
        out = _forward(run, run.val.loader.fetch[run.val.cut(run.world).first(run.val.stream)])
    run.metrics.update(out.seen, 0)
    return [f"val/{name}" for name in ("loss", *out.logs, *run.metrics.preview())]


def _passes(run: Run, val: Feed, sums: dict[str, list[float]]) -> bool:
    cut = val.cut(run.world)
    batches = chain(val.loader.batches(cut.each(val.stream, 0, val.num_samples)), repeat(None))
    micros = cut.each(val.stream, 0, val.num_samples)
    for number in range(cut.rounds(0, val.num_samples)):
        batch = next(batches)
        if batch is not None:
            out = _forward(run, batch)
            _add(sums, out)
            run.metrics.update(out.seen, batch.index)
            if run.predictions:
                run.predictions.add(next(micros).samples, out.seen)
        elif run.parallel.pads:  # all ranks gather sharded parameters together; this one has nothing left to add
            _forward(run, val.loader.fetch[cut.first(val.stream)])
        if number % POLL_EVERY == POLL_EVERY - 1 and run.world.sum([float(run.stop.is_set)])[0]:
            return False
    return True


def _forward(run: Run, batch: Batch) -> Out:
    rng.seed_all(rng.key(run.spec.seed, rng.FORWARD, run.progress.step, batch.index))
    with run.autocast():
        return run.task(run.model, to_device(batch.data, run.world.device))


def _add(sums: dict[str, list[float]], out: Out) -> None:
    for name, (value, weight) in {"loss": (out.loss_sum, out.weight), **out.logs}.items():
        sums[name][0] += float(value)
        sums[name][1] += float(weight)


def _reduce(run: Run, sums: dict[str, list[float]]) -> dict[str, float]:
    names = run.world.share(sorted(sums))  # rank 0 always has a batch; a rank without one knows no names
    flat = run.world.sum([number for name in names for number in sums[name]])
    if not flat[1]:
        raise DataError(f"evaluation found no target that counts; check spec.trainer.data.{run.split}")
    return {f"{run.split}/{name}": flat[2 * at] / max(flat[2 * at + 1], 1e-300) for at, name in enumerate(names)}
