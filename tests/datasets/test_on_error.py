"""A sample that cannot be read: told, tried again, or replaced alike on every rank, counted and named once."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from ktrain.errors import DataError
from ktrain.spec.data import Data
from ktrain.spec.transform import OnError
from ktrain_trainer import loop, place
from ktrain_trainer.assemble import assemble, build_parts
from ktrain_trainer.data import Batch, Fetch, Loader, plain
from ktrain_trainer.plan import Cut, Stream
from ktrain_trainer.stop import StopFlag
from ktrain_trainer.world import World
from tests.datasets.test_orders import spec, write

BAD = {3, 11, 12}


@dataclass
class Broken:
    """Some samples cannot be read, or not at the first try."""

    heals_after: int = 10**9
    tries: dict[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> torch.Tensor:
        self.tries[index] = self.tries.get(index, 0) + 1
        if index in BAD and self.tries[index] <= self.heals_after:
            raise OSError("stale file handle")
        return torch.tensor(index)


def read(on_error: OnError, *, source: Any = None, workers: int = 0, rank: int = 0, size: int = 1) -> list[Batch]:
    loader = Loader(Fetch(source or Broken(), plain, 9, on_error=on_error), workers)
    return list(loader.batches(Cut(4, rank, size).each(Stream(20, seed=1, shuffle=True), 0, 40)))


def test_a_stand_in_is_the_same_on_any_rank_and_worker() -> None:
    alone = {batch.index: batch for batch in read("skip")}
    shared = [batch for rank in range(3) for batch in read("skip", rank=rank, size=3)] + read("skip", workers=2)
    assert all(batch.data.tolist() == alone[batch.index].data.tolist() for batch in shared)
    assert all(batch.skipped == alone[batch.index].skipped for batch in shared)
    values = [value for batch in alone.values() for value in batch.data.tolist()]
    assert len(values) == 40
    assert not BAD & set(values)
    assert sum(len(batch.skipped) for batch in alone.values()) == 2 * len(BAD)  # in each of two epochs
    assert "sample 3 cannot be read: OSError: stale file handle" in {
        it for batch in alone.values() for it in batch.skipped
    }


def test_raising_leaves_the_error_as_it_is() -> None:
    with pytest.raises(OSError, match="stale file handle"):
        read("raise")


def test_trying_again_helps_against_what_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktrain_trainer.reading._PAUSE_SECONDS", 0.0)
    batches = read("retry", source=Broken(heals_after=2))
    assert sorted(value for batch in batches for value in batch.data.tolist()) == sorted([*range(20), *range(20)])
    with pytest.raises(DataError, match=r"sample \d+ cannot be read: OSError: stale file handle \(3 tries\)"):
        read("retry")


def test_when_nothing_can_be_read_it_is_told() -> None:
    class Gone(Broken):
        def __getitem__(self, index: int) -> torch.Tensor:
            raise OSError(f"no {index}")

    with pytest.raises(DataError, match="nor can any of 10 others that would stand in for it"):
        read("skip", source=Gone())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_wrong_row_is_one_sentence_also_from_a_worker(workers: int, tmp_path: Path) -> None:
    from ktrain_trainer.sources import make_sources

    (tmp_path / "rows.jsonl").write_text('{"x": 1}\n{"x": 2\n')
    source = make_sources(
        Data.model_validate({"train": {"source": "jsonl", "path": f"{tmp_path}/rows.jsonl"}}), seed=0
    ).train
    loader = Loader(Fetch(source, plain, 0), workers)
    with pytest.raises(DataError) as caught:
        list(loader.batches(Cut(2, 0, 1).each(Stream(2, seed=0, shuffle=False), 0, 2)))
    assert str(caught.value).startswith(f"{tmp_path}/rows.jsonl:2: this is no JSON")
    assert "Traceback" not in str(caught.value)


def test_a_run_counts_what_it_skips_and_names_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    (tmp_path / "rows.jsonl").write_text("\n".join([*lines[:5], "{broken", *lines[6:]]))
    job = spec({"onError": "skip"}, steps=15, log={"every": "5step"})  # two epochs
    with StopFlag().listening() as stop, caplog.at_level(logging.WARNING, "ktrain"):
        run = assemble(job, build_parts(job), World.alone("cpu"), place.nowhere(), stop=stop)
        loop.train(run)
    assert run.meter.snapshot.samples_skipped == 2
    told = [record.getMessage() for record in caplog.records if "skipped a sample" in record.getMessage()]
    assert len(told) == 1
    assert "rows.jsonl:6: this is no JSON" in told[0]
