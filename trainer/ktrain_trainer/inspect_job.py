"""What `ktrain validate --deep` asks: import, bind and build everything that a job names, without a GPU and without data.

The spec comes on stdin, the answer goes to stdout as one JSON object; the current folder is the code folder.
"""

import contextlib
import importlib.util
import json
import sys
from typing import Any

from ktrain.errors import KtrainError
from ktrain.spec import Trainer, TrainingJob
from ktrain.spec.parallel import Parallel
from ktrain.units import counted, format_bytes


def inspect(job: TrainingJob) -> dict[str, Any]:
    """Name → what was found; BuildError and DataError tell what does not work."""
    if importlib.util.find_spec("torch") is None:
        return {"error": "torch is not installed, and --deep builds the model; install ktrain-operator[trainer]"}
    if job.spec.trainer is None:
        return _script(job)
    import torch

    from ktrain_trainer import data, optim, task
    from ktrain_trainer.metrics.registry import check as check_metrics
    from ktrain_trainer.sources import make_sources
    from ktrain_trainer.streaming import ENDLESS, check_units

    spec = job.spec.trainer
    found: dict[str, Any] = {}
    sources = make_sources(spec.data, seed=spec.seed, test=True)
    for name, source in (("train data", sources.train), ("validation data", sources.val), ("test data", sources.test)):
        if source is not None:
            found[name] = "a stream" if len(source) == ENDLESS else counted(len(source), "sample")
    if len(sources.train) == ENDLESS:
        check_units(spec)
    for split in ("train", "val", "test"):
        data.make_loader(spec.data, sources.train, seed=spec.seed, split=split)
    with torch.device("meta" if spec.task.use == "distill" else "cpu"):  # a teacher is as large as a model
        task.make(spec.task)
    check_metrics(spec.eval.metrics)
    model = _model(spec)
    optim.make(spec.optim, model)
    return {**found, **_sizes(model, job)}


def _model(spec: Trainer) -> Any:
    import torch

    from ktrain_trainer import build

    with torch.device("meta"):  # shapes without memory
        model = build.construct(spec.model, "spec.trainer.model")
    if not isinstance(model, torch.nn.Module):
        raise KtrainError(
            f"{spec.model.use} gave a {type(model).__name__}, not a torch.nn.Module", "spec.trainer.model"
        )
    return model


def _sizes(model: Any, job: TrainingJob) -> dict[str, Any]:
    from ktrain_trainer import optim

    spec = job.spec.trainer
    assert spec is not None
    params = list(model.parameters())
    trained = sum(param.numel() for param in params if param.requires_grad)
    weights = sum(param.numel() * param.element_size() for param in params)
    copies = 2 + optim.moments(spec.optim) + (1 if spec.optim.ema else 0)  # weights, gradients, moments, average
    state = weights * copies
    shards = _shards(spec.parallel, job) if spec.parallel.is_sharded else 1
    return {
        "parameters": f"{sum(param.numel() for param in params):,} ({trained:,} trained)",
        "memory per rank": f"{format_bytes(state / shards)} for weights, gradients and optimizer, activations not counted",
        "micro-batches a step": f"{spec.batch.micros} over {counted(job.spec.max_ranks, 'rank')}",
    }


def _shards(spec: Parallel, job: TrainingJob) -> int:
    """Ranks that hold one copy together, when the job is at its largest."""
    return (spec.shards or job.spec.ranks_per_node) if spec.strategy == "hsdp" else job.spec.max_ranks


def _script(job: TrainingJob) -> dict[str, Any]:
    from pathlib import Path

    assert job.spec.script is not None
    path = Path(job.spec.script.path)
    try:
        compile(path.read_text(), str(path), "exec")
    except OSError as error:
        raise KtrainError(f"{path} cannot be read: {error.strerror}", "spec.script.path") from None
    except SyntaxError as error:
        raise KtrainError(f"{path}:{error.lineno}: {error.msg}", "spec.script.path") from None
    return {"script": f"{path} compiles"}


def main() -> None:
    """Answers on the real stdout; what user code prints goes to stderr."""
    answer = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        try:
            found = inspect(TrainingJob.model_validate_json(sys.stdin.read()))
        except KtrainError as error:
            found = {"error": str(error), "where": error.where}
    answer.write(json.dumps(found))


if __name__ == "__main__":
    main()
