"""Samplers are functions of seed and position: the same wherever a run is taken up again, and for any number of ranks."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ktrain.errors import DataError
from ktrain.spec import Trainer
from ktrain.spec.data import Data
from ktrain_trainer import loop, place
from ktrain_trainer.assemble import assemble, build_parts
from ktrain_trainer.numerics import set_numerics
from ktrain_trainer.ordering import make_order
from ktrain_trainer.orders import ORDERS, Bucket, Curriculum, Mix, Weighted
from ktrain_trainer.packing import IGNORED, fill
from ktrain_trainer.plan import Cut, Order, Stream
from ktrain_trainer.sources import make_sources
from ktrain_trainer.stop import StopFlag
from ktrain_trainer.world import World
from tests.ranks import Rank, run_ranks, values

N = 60
FEW = {"source": "jsonl", "path": "more.jsonl", "columns": {"input": ["x", "y"], "target": "label"}, "weight": 0.5}

CASES: dict[str, dict[str, Any]] = {
    "weighted": {"sampler": {"name": "weighted", "column": "label", "weights": {"0": 1, "1": 5, "2": 0.5}}},
    "bucket": {"sampler": {"name": "bucket", "column": "text", "window": 3}},
    "curriculum": {"curriculum": {"score": "text", "start": 0.2, "over": "1.3ep", "shape": "sqrt"}},
    "mix": {"mix": {"others": {"more": FEW}, "by": "micro"}},
}


def test_every_order_has_a_case() -> None:
    assert set(CASES) == set(ORDERS)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path) -> None:
    for name, size in (("rows", N), ("more", 21)):
        rows = (
            {"x": n / size, "y": n % 7, "text": "a" * (n * 37 % 23 + 1), "label": n % 3, "name": name}
            for n in range(size)
        )
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def spec(keys: dict[str, Any], steps: int = 14, **rest: Any) -> Trainer:
    train = {"source": "jsonl", "path": "rows.jsonl", "columns": {"input": ["x", "y"], "target": "label"}}
    return Trainer.model_validate(
        {
            "seed": 5,
            "duration": f"{steps}step",
            "model": {"use": "tests.datasets.test_orders:Net"},
            "data": {"train": train, **keys},
            "batch": {"global": 8, "micro": 2},
            "optim": {"lr": 1e-2},
            "schedule": {"name": "constant"},
            **rest,
        }
    )


class Net(nn.Sequential):
    """Two layers with dropout."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(2, 8), nn.Dropout(0.2), nn.Linear(8, 3))


class Words(nn.Module):
    """A language model of one layer, with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.out = nn.Embedding(11, 8), nn.Sequential(nn.Dropout(0.2), nn.Linear(8, 11))

    def forward(self, input_ids: torch.Tensor, **_more: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.out(self.embedding(input_ids))
        return found


def order_of(keys: dict[str, Any]) -> tuple[Order, int]:
    job = spec(keys)
    source = make_sources(job.data, seed=job.seed).train
    found = make_order(job, source)
    assert found is not None
    return found, len(source)


def train(
    rank: Rank | None, keys: dict[str, Any], folder: str | None, steps: int = 14, **rest: Any
) -> list[torch.Tensor]:
    """The parameters at the end, or where an earlier run in the folder is taken up again."""
    job = spec(keys, steps, **rest)
    set_numerics(job)
    world = World.alone("cpu")
    if rank is not None:
        world = World(rank.rank, rank.size, rank.rank, torch.device("cpu"), torch.distributed.group.WORLD, rank.store)
    where = place.claim(folder, "run", world, fresh=False, document={}) if folder else place.nowhere()
    with StopFlag().listening() as stop:
        run = assemble(job, build_parts(job), world, where, stop=stop)
        loop.train(run)
        run.journal.close()
        run.steps = (
            None  # ends loader workers here: the garbage of one run must not be collected in the workers of the next
        )
    assert run.progress.step == steps
    return [param.detach().clone() for param in run.model.parameters()]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("files")
class TestEveryOrder:
    def test_a_run_is_bit_exact_when_it_is_taken_up_again_in_the_middle(self, name: str, files: Path) -> None:
        assert_resumes(CASES[name], files, 9)  # 72 of 60 samples: in the second epoch

    def test_any_number_of_ranks_has_the_same_micro_batches(self, name: str) -> None:
        order, size = order_of(CASES[name])

        def micros(world_size: int) -> set[Any]:
            streams = [Stream(size, seed=5, shuffle=True, order=order) for _ in range(world_size)]
            return {micro for rank, it in enumerate(streams) for micro in Cut(2, rank, world_size).mine(it, 56, 136)}

        assert micros(1) == micros(2) == micros(3)

    def test_it_is_the_same_from_wherever_it_is_asked(self, name: str) -> None:
        order, size = order_of(CASES[name])
        whole = order(np.arange(400))
        parts = [order(np.arange(begin, min(begin + 7, 400))) for begin in range(0, 400, 7)]
        assert np.concatenate(parts).tolist() == whole.tolist()
        assert whole.min() >= 0
        assert whole.max() < size

    def test_it_never_changes_between_releases(self, name: str) -> None:
        """Golden: an upgrade that changes an order would change every running job that has it."""
        order, _ = order_of(CASES[name])
        assert order(np.arange(64, 74)).tolist() == GOLDEN[name]


GOLDEN = {
    "weighted": [43, 25, 33, 25, 1, 52, 31, 58, 40, 46],
    "bucket": [1, 57, 21, 49, 23, 25, 12, 19, 27, 8],
    "curriculum": [55, 29, 42, 34, 45, 28, 4, 37, 17, 48],
    "mix": [17, 18, 39, 22, 1, 21, 48, 53, 70, 71],
}


@pytest.mark.slow
def test_two_ranks_train_the_same_as_one(files: Path) -> None:
    """All of them in one gang: what one process reaches, two reach to rounding, also from where one has stopped."""
    assert_two_ranks_train_as_one(CASES, files)


def assert_resumes(keys: dict[str, Any], files: Path, *stops: int, **rest: Any) -> None:
    """Stopped after so many steps, and taken up again each time: bit for bit the run that nobody stopped."""
    whole = train(None, keys, None, **rest)
    for steps in stops:
        train(None, keys, str(files / "runs"), steps=steps, **rest)
    again = train(None, keys, str(files / "runs"), **rest)
    assert all(torch.equal(one, other) for one, other in zip(whole, again, strict=True))


def assert_two_ranks_train_as_one(cases: Mapping[str, dict[str, Any]], files: Path) -> None:
    """To rounding, from where one rank has stopped."""
    for name, keys in cases.items():
        train(None, keys, str(files / name), steps=9)
    ours = [train(None, keys, None) for keys in cases.values()]
    theirs = values(run_ranks("tests.datasets.test_orders:train_all", 2, str(files), cases))[0]
    for one, two in zip(ours, theirs, strict=True):
        assert all(torch.allclose(left, right, atol=2e-6) for left, right in zip(one, two, strict=True))


def train_all(rank: Rank, folder: str, cases: Mapping[str, dict[str, Any]]) -> list[list[torch.Tensor]]:
    """Every case, one after the other, from what is in the folder."""
    os.chdir(folder)
    rank.join_gloo()
    return [train(rank, keys, f"{folder}/{name}") for name, keys in cases.items()]


class TestWeighted:
    def test_samples_come_as_often_as_their_weights_say(self) -> None:
        order = Weighted(np.cumsum([1.0, 3.0, 0.0, 6.0]), seed=1)
        counts = Counter(order(np.arange(20_000)).tolist())
        assert counts[2] == 0
        assert [counts[it] / 20_000 for it in (0, 1, 3)] == pytest.approx([0.1, 0.3, 0.6], abs=0.015)

    @pytest.mark.usefixtures("files")
    def test_balanced_classes_come_equally_often(self) -> None:
        order, _ = order_of({"sampler": {"name": "weighted", "column": "text", "weights": "balanced"}})
        lengths = Counter(int(n) * 37 % 23 for n in order(np.arange(23_000)))
        assert max(lengths.values()) < 1.25 * min(lengths.values())

    @pytest.mark.parametrize(
        ("sampler", "message"),
        [
            ({"column": "nothing"}, "there is no column 'nothing'"),
            ({"column": "text"}, "'text' holds more than numbers"),
            (
                {"column": "label", "weights": {"0": 1}},
                r"sampler\.weights: 'label' has the value 1, which has no weight",
            ),
            ({"column": "zero"}, "not all zero"),
        ],
    )
    def test_weights_that_are_none_are_told(self, sampler: dict[str, Any], message: str, files: Path) -> None:
        (files / "rows.jsonl").write_text('{"x": 1, "y": 1, "label": 1, "text": "b", "zero": 0}\n')
        with pytest.raises(DataError, match=message):
            order_of({"sampler": {"name": "weighted", **sampler}})


class TestCurriculum:
    ORDER = Curriculum(np.arange(100)[::-1].copy(), 0.1, 1.0, 250, is_sqrt=False, seed=3)

    def test_the_easiest_come_first_and_the_part_grows(self) -> None:
        found = self.ORDER(np.arange(250))
        assert found[:10].min() >= 88
        assert found[100:140].min() >= 100 - round(100 * (0.1 + 0.9 * 140 / 250)) - 1
        assert found.min() < 20

    def test_once_it_is_whole_each_epoch_has_each_sample_once(self) -> None:
        assert sorted(self.ORDER(np.arange(300, 400)).tolist()) == list(range(100))
        assert self.ORDER(np.arange(300, 400)).tolist() != self.ORDER(np.arange(400, 500)).tolist()

    def test_the_root_grows_faster(self) -> None:
        root = Curriculum(np.arange(100), 0.1, 1.0, 1000, is_sqrt=True, seed=3)
        line = Curriculum(np.arange(100), 0.1, 1.0, 1000, is_sqrt=False, seed=3)
        assert root(np.arange(200)).max() > line(np.arange(200)).max() + 10

    @pytest.mark.usefixtures("files")
    def test_a_function_scores(self) -> None:
        order, _ = order_of(
            {"curriculum": {"score": "tests.datasets.test_orders:hardness", "start": 0.05, "over": "9ep"}}
        )
        assert set(order(np.arange(10)).tolist()) <= set(range(N - 4, N))


def hardness(sample: Any) -> float:
    """The last rows are easiest."""
    return -float(sample[0][0])


class TestBucket:
    @pytest.mark.parametrize(("n", "micro"), [(100, 4), (101, 4), (7, 8), (33, 5)])
    def test_each_epoch_has_each_sample_once(self, n: int, micro: int) -> None:
        order = Bucket(np.arange(n, dtype=float), micro, 3, seed=1)
        for epoch in range(4):
            assert sorted(order(np.arange(epoch * n, (epoch + 1) * n)).tolist()) == list(range(n))

    def test_micro_batches_hold_samples_of_like_length(self) -> None:
        lengths = np.random.default_rng(0).integers(1, 1000, 1003).astype(float)
        order = Bucket(lengths, 8, 50, seed=1)
        micros = lengths[order(np.arange(8 * 300))].reshape(
            -1, 8
        )  # over two ends of epochs that no micro-batch ends at
        spread = np.median(micros.max(1) - micros.min(1))
        assert spread < 40

    def test_the_order_of_micro_batches_says_nothing_of_length(self) -> None:
        micros = Bucket(np.arange(800.0), 8, 100, seed=1)(np.arange(800)).reshape(-1, 8).mean(1)
        assert abs(np.corrcoef(micros, np.arange(100))[0, 1]) < 0.3


class TestMix:
    def test_the_proportion_holds_in_every_thousand(self) -> None:
        order = Mix([100, 30], [0.7, 0.3], width=1, seed=2)
        found = order(np.arange(3000)).reshape(3, 1000)
        assert ((found >= 100).sum(1) == 300).all()

    def test_each_dataset_goes_round_by_itself(self) -> None:
        found = Mix([100, 30], [0.7, 0.3], width=1, seed=2)(np.arange(1000))
        own = found[found >= 100]
        assert all(sorted(own[at : at + 30].tolist()) == list(range(100, 130)) for at in range(0, 300, 30))

    def test_a_micro_batch_comes_from_one_dataset(self) -> None:
        found = Mix([100, 30], [1, 1], width=4, seed=2)(np.arange(800)).reshape(-1, 4)
        assert len({tuple((row >= 100).tolist()) for row in found}) == 2

    @pytest.mark.usefixtures("files")
    def test_samples_can_say_where_they_come_from(self) -> None:
        more = {**FEW, "columns": {"x": "x"}}
        part = {"source": "jsonl", "path": "rows.jsonl", "columns": {"x": "x"}}
        mixed = make_sources(
            Data.model_validate({"train": part, "mix": {"others": {"more": more}, "tag": "task"}}), seed=0
        )
        assert [mixed.train[index]["task"] for index in (0, N - 1, N)] == ["train", "train", "more"]


class TestPacking:
    def test_every_token_is_in_one_row(self) -> None:
        lengths = [3, 9, 1, 4, 25, 0, 8, 2]
        rows = fill(lengths, 10, seed=0)
        assert all(sum(end - begin for _, begin, end in row) <= 10 for row in rows)
        tokens = Counter((sample, at) for row in rows for sample, begin, end in row for at in range(begin, end))
        assert tokens == {(sample, at): 1 for sample, length in enumerate(lengths) for at in range(length)}
        assert len(rows) <= 6

    def test_which_tokens_share_a_row_never_changes_between_releases(self) -> None:
        rows = fill([1 + n * 37 % 23 for n in range(1000)], 32, seed=5)
        assert len(rows) == 379  # 374.4 would hold all tokens
        assert hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16] == "cbe2d318e000dd9f"

    def test_first_tokens_and_padding_do_not_count(self, files: Path) -> None:
        (files / "rows.jsonl").write_text('{"input_ids": [5, 6, 7]}\n{"input_ids": [8, 9]}\n')
        part = {"source": "jsonl", "path": "rows.jsonl"}
        packed = make_sources(Data.model_validate({"train": part, "pack": {"length": 6, "positions": True}}), seed=3)
        row = packed.train[0]
        assert len(packed.train) == 1
        assert sorted(row["input_ids"].tolist()) == [0, 5, 6, 7, 8, 9]
        assert sorted(row["labels"].tolist()) == [IGNORED, IGNORED, IGNORED, 6, 7, 9]
        assert sorted(row["position_ids"].tolist()) == [0, 0, 0, 1, 1, 2]

    def test_a_run_of_packed_rows_is_bit_exact_when_it_is_taken_up_again(self, files: Path) -> None:
        rows = ({"input_ids": [1 + (n + at) % 10 for at in range(1 + n * 5 % 13)]} for n in range(90))
        (files / "tokens.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        keys = {"train": {"source": "jsonl", "path": "tokens.jsonl"}, "pack": {"length": 16}}
        rest: dict[str, Any] = {"model": {"use": "tests.datasets.test_orders:Words"}, "task": {"use": "causal_lm"}}
        size = len(make_sources(spec(keys, **rest).data, seed=5).train)
        assert 30 < size < 56  # so that seven steps lie in the first pass, and fourteen do not
        assert_resumes(keys, files, 5, **rest)

    def test_texts_cannot_be_packed(self, files: Path) -> None:
        (files / "rows.jsonl").write_text('{"input_ids": "no"}\n')
        part = {"source": "jsonl", "path": "rows.jsonl"}
        with pytest.raises(DataError, match="'input_ids' of sample 0 is a str, not a list of tokens"):
            make_sources(Data.model_validate({"train": part, "pack": {"length": 6}}), seed=3)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"curriculum": {"score": "x", "over": "1e6tok"}}, "does not convert to samples"),
        ({"curriculum": {"score": "x", "over": "2ep", "start": 0.5, "end": 0.3}}, "a curriculum grows"),
        (
            {"sampler": {"name": "bucket", "column": "x", "weights": "balanced"}},
            "weights belong to the weighted sampler",
        ),
        ({"sampler": {"name": "weighted", "column": "x", "weights": {"a": -1}}}, "greater than 0"),
        ({**CASES["weighted"], **CASES["curriculum"]}, "sampler and curriculum both decide the order"),
        ({**CASES["weighted"], "shuffle": False}, "shuffle is false, but sampler decides"),
        ({**CASES["mix"], "pack": {"length": 8}}, "pack makes new samples, which mix knows nothing of"),
        ({"mix": {"others": {}}}, "at least 1 item"),
    ],
)
def test_wrong_keys_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Data.model_validate({"train": {"use": "a:b"}, **keys})
