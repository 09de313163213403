"""Predictions of an evaluation as Parquet, one file per rank, each sample once, and an index that says which files count."""

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from ktrain import names
from ktrain.errors import BuildError
from ktrain.extras import require
from ktrain_trainer.place import Place
from ktrain_trainer.tasks.out import Seen
from ktrain_trainer.world import World

ROWS_AT_ONCE: Final = 4096  # kept in memory before they are written out


class Predictions:
    """Writes into the scratch folder while evaluation goes on, and into the run's storage when it is whole."""

    def __init__(self, place: Place, world: World) -> None:
        check()
        self._place = place
        self._world = world
        self._path = place.scratch / f"predictions-{place.run or 'here'}-{world.rank}.parquet"
        self._writer: Any = None
        self._rows: dict[str, list[Any]] = {}
        self._count = 0

    def begin(self) -> None:
        """A new evaluation; what one before left unfinished is gone."""
        self._close()
        self._path.unlink(missing_ok=True)
        self._rows = {}
        self._count = 0

    def add(self, samples: Sequence[int], seen: Seen | None) -> None:
        """The predictions of these samples."""
        columns = {"sample": list(samples), **(rows(seen) if seen else {})}
        for name, column in columns.items():
            if len(column) != len(samples):
                raise BuildError(
                    f"the task's {name}s are {len(column)} for {len(samples)} samples; predictions need one for each",
                    "spec.trainer.eval.predictions",
                )
            self._rows.setdefault(name, []).extend(column)
        self._count += len(samples)
        if len(self._rows["sample"]) >= ROWS_AT_ONCE:
            self._flush()

    def finish(self, step: int, split: str) -> str:
        """Moves the files into storage and returns the index's key. A collective: the index comes after all files."""
        self._flush()
        self._close()
        folder = f"{names.DIR_PREDICTIONS}/{split}/step-{step:010d}"
        key = f"{folder}/{self._place.token.prefix}/rank-{self._world.rank:05d}.parquet"
        assert self._place.storage is not None
        if self._count:
            self._place.storage.put(key, self._path.read_bytes())
            self._path.unlink()
        counts = self._world.sum(
            [float(self._count if rank == self._world.rank else 0) for rank in range(self._world.size)]
        )
        index = f"{folder}/index.json"
        if self._world.is_first:
            files = {
                f"{self._place.token.prefix}/rank-{rank:05d}.parquet": int(it) for rank, it in enumerate(counts) if it
            }
            self._place.storage.put(index, json.dumps({"step": step, "split": split, "files": files}).encode())
        return index

    def _flush(self) -> None:
        if not self._rows.get("sample"):
            return
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
        table = arrow.table(self._rows)
        if self._writer is None:
            self._writer = parquet.ParquetWriter(str(self._path), table.schema)
        self._writer.write_table(table.cast(self._writer.schema))
        self._rows = {}

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def check() -> None:
    """BuildError when Parquet cannot be written here."""
    require("pyarrow", "metrics", "writing predictions as Parquet", "spec.trainer.eval.predictions")


def rows(seen: Seen) -> dict[str, list[Any]]:
    """Columns of a micro-batch: target, and prediction with scores over classes, or output, or what boxes have."""
    outputs, targets = seen.outputs, seen.targets
    if isinstance(outputs, torch.Tensor):
        if isinstance(targets, torch.Tensor) and outputs.dim() == targets.dim() + 1 and not targets.is_floating_point():
            return {"target": targets.tolist(), **_over_classes(seen)}
        shown = seen.scores(outputs.float()) if seen.scores else outputs.float()
        return {
            "target": targets.tolist() if isinstance(targets, torch.Tensor) else list(targets),
            "output": shown.tolist(),
        }
    if isinstance(outputs, list) and outputs and isinstance(outputs[0], Mapping):
        named = {key: [_plain(it[key]) for it in outputs] for key in outputs[0]}
        return {**named, **{f"target_{key}": [_plain(it[key]) for it in targets] for key in ("boxes", "labels")}}
    if isinstance(outputs, tuple):
        return {f"output_{at}": _plain(it) for at, it in enumerate(outputs)}
    return {"target": list(targets), "output": list(outputs)}


def _over_classes(seen: Seen) -> dict[str, list[Any]]:
    found = {"prediction": seen.outputs.argmax(-1).tolist()}
    if seen.outputs.dim() == 2 and seen.scores:  # of sequences the scores would be as large as the vocabulary
        found["scores"] = seen.scores(seen.outputs.float()).tolist()
    return found


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, torch.Tensor) else value


def read(folder: Path) -> list[dict[str, Any]]:
    """All rows of an evaluation's folder, by sample; for looking at them and for tests."""
    parquet = importlib.import_module("pyarrow.parquet")
    files = json.loads((folder / "index.json").read_text())["files"]
    found = [row for name in files for row in parquet.read_table(str(folder / name)).to_pylist()]
    return sorted(found, key=lambda row: row["sample"])
