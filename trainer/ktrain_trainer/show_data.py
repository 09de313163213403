"""What `ktrain data show` and `ktrain data prepare` ask: samples of a job's data, described or written into files.

The job comes on stdin, the answer goes to stdout as one JSON object; the current folder is the code folder.
"""

import contextlib
import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ktrain.errors import DataError, KtrainError
from ktrain.spec import TrainingJob

_LONGEST: Final = 200


def show(job: TrainingJob, n: int, split: str) -> dict[str, Any]:
    """The first samples of a split in the dataset's order, and how often each label occurs."""
    from ktrain_trainer import data
    from ktrain_trainer.columns import place
    from ktrain_trainer.sources import make_sources
    from ktrain_trainer.streaming import ENDLESS

    spec = _trainer(job)
    source = getattr(make_sources(spec.data, seed=spec.seed, test=True), split)
    if source is None:
        raise DataError(f"the job has no {split} data", f"spec.trainer.data.{split}")
    fetch = data.make_loader(spec.data, source, seed=spec.seed, split=split).fetch  # type: ignore[arg-type]
    shown = [
        {"place": place(source, index), "parts": dict(describe(fetch.sample(index), source))}
        for index in range(min(n, len(source)))
    ]
    if len(source) == ENDLESS:
        return {"samples": None, "shown": shown, "labels": {}}
    return {"samples": len(source), "shown": shown, "labels": _labels(source)}


def describe(sample: Any, source: Any = None, name: str = "") -> list[tuple[str, str]]:
    """(name, one line) of each part of a sample."""
    import torch

    if isinstance(sample, Mapping):
        return [row for key, value in sample.items() for row in describe(value, source, f"{name}.{key}".strip("."))]
    if isinstance(sample, tuple) and len(sample) == 2 and not name:
        return [*describe(sample[0], source, "input"), *describe(sample[1], source, "target")]
    if isinstance(sample, torch.Tensor):
        text = _decoded(sample, source) if name.endswith("input_ids") else None
        return [(name, _tensor(sample)), *([(f"{name} as text", text)] if text is not None else [])]
    text = repr(sample)
    return [(name, text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(sample):,} long)")]


def _tensor(value: Any) -> str:
    kind = str(value.dtype).removeprefix("torch.")
    if value.numel() == 0:
        return f"{kind} {tuple(value.shape)}, empty"
    if value.dim() == 0:
        return f"{kind} {value.item():g}"
    real = value.double()
    return f"{kind} {tuple(value.shape)}, {real.min():g} to {real.max():g}, mean {real.mean():.4g}"


def _decoded(tokens: Any, source: Any) -> str | None:
    """Windows of bytes or characters know what they were made of."""
    while hasattr(source, "source"):
        source = source.source
    alphabet = getattr(getattr(source, "rows", None), "alphabet", None)
    if alphabet is None:
        return None
    numbers = tokens.tolist()
    text = "".join(alphabet[it] for it in numbers) if alphabet else bytes(numbers).decode(errors="replace")
    return repr(text[:_LONGEST])


def _labels(source: Any) -> dict[str, int]:
    from ktrain_trainer.columns import column

    for name in ("target", "label"):
        with contextlib.suppress(DataError, TypeError):
            counts = Counter(map(str, column(source, name, "")))
            return dict(counts.most_common(50)) if len(counts) < len(source) or len(source) <= 20 else {}
    return {}


def prepare(job: TrainingJob, out: Path, rows: int, *, transform: bool) -> dict[str, Any]:
    """Files <out>/<split>/part-00000.parquet, then the manifest: without one the work is unfinished."""
    from ktrain_trainer import data
    from ktrain_trainer.datasets.write import Writer
    from ktrain_trainer.sources import make_sources
    from ktrain_trainer.streaming import ENDLESS

    spec = _trainer(job)
    sources = make_sources(spec.data, seed=spec.seed, test=True)
    if len(sources.train) == ENDLESS:
        raise DataError("data.train is a stream, which has no end to prepare it to", "spec.trainer.data.train")
    splits = {name: source for name in ("train", "val", "test") if (source := getattr(sources, name)) is not None}
    told = {
        "data": spec.data.model_dump(mode="json", by_alias=True, exclude={"loader"}),
        "fingerprints": {name: data.fingerprint(source) for name, source in splits.items()},
        "rows": rows,
        "transform": transform,
    }
    writer = Writer(out, rows)
    found = {}
    try:
        writer.begin(told)
        for name, source in splits.items():
            fetch = data.make_loader(spec.data, source, seed=spec.seed, split=name).fetch  # type: ignore[arg-type]
            found[name] = writer.write(name, len(source), fetch.sample if transform else source.__getitem__)
        return writer.end({**told, "splits": found})
    except OSError as error:
        if not str(error.filename or "").startswith(str(out)):
            raise  # the dataset's own
        raise DataError(f"{out} cannot be written: {error.strerror or error}") from error


def _trainer(job: TrainingJob) -> Any:
    if job.spec.trainer is None:
        raise KtrainError("the job runs a script, which reads its data itself; there is nothing to show", "spec.script")
    return job.spec.trainer


def _answer(argv: list[str]) -> dict[str, Any]:
    if importlib.util.find_spec("torch") is None:
        raise KtrainError("torch is not installed, and samples are tensors; install ktrain-operator[trainer]")
    job = TrainingJob.model_validate_json(sys.stdin.read())
    if argv[0] == "show":
        return show(job, int(argv[1]), argv[2])
    return prepare(job, Path(argv[1]), int(argv[2]), transform="transform" in argv[3:])


def main() -> None:
    """Answers on the real stdout; what user code prints goes to stderr."""
    answer = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        try:
            found = _answer(sys.argv[1:])
        except KtrainError as error:
            found = {"error": str(error), "where": error.where or "spec.trainer.data"}
    answer.write(json.dumps(found))


if __name__ == "__main__":
    main()
