"""Streams: read from front to back by every rank, resumed by a cursor, bit for bit and at another number of ranks."""

import gzip
import json
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ktrain_trainer as ktrain
from ktrain.errors import DataError, SpecError, StorageError
from ktrain.spec.data import Data
from ktrain.storage import open_storage
from ktrain_trainer import show_data
from ktrain_trainer.assemble import build_parts
from ktrain_trainer.datasets.line_stream import JsonlStream
from ktrain_trainer.sources import make_sources
from ktrain_trainer.streaming import Blockwise, Streamed, is_stream
from tests.datasets.test_orders import assert_resumes, assert_two_ranks_train_as_one, spec, train
from tests.storage.s3server import BUCKET, s3_server

N = 60
COLUMNS = {"input": ["x", "y"], "target": "label"}
LINES = {"source": "jsonl", "path": "part-*.jsonl*", "stream": True, "columns": COLUMNS}

CASES: dict[str, dict[str, Any]] = {
    "lines": {"train": LINES, "buffer": 7},
    "lines, in order": {"train": LINES, "buffer": 7, "shuffle": False},
    "lines, two workers": {"train": LINES, "buffer": 13, "loader": {"workers": 2}},
    "with a state": {"train": {"use": "tests.datasets.test_streams:Counted"}, "buffer": 9},
    "without a state": {"train": {"use": "tests.datasets.test_streams:Plain"}, "buffer": 9},
    "a worker, one block": {
        "train": {"use": "tests.datasets.test_streams:Counted"}, "buffer": 1000, "loader": {"workers": 1},
    },
}  # fmt: skip


def sample(n: int) -> tuple[torch.Tensor, int]:
    return torch.tensor([n / N, n % 7]), n % 3


class Plain:
    """A stream that can only begin at its beginning; its passes differ."""

    def __init__(self) -> None:
        self.epoch = 0
        self.given = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        for n in range(N):
            self.given += 1
            yield sample((n * 7 + self.epoch) % N)


class Counted(Plain):
    """One that goes on where it was."""

    def __init__(self) -> None:
        super().__init__()
        self.at = self.begin = 0

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        self.at, self.begin = self.begin, 0
        while self.at < N:
            self.at, self.given = self.at + 1, self.given + 1
            yield sample(((self.at - 1) * 7 + self.epoch) % N)

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.begin = state["at"]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path) -> None:
    rows = [json.dumps({"x": n / N, "y": n % 7, "label": n % 3}) for n in range(N)]
    (folder / "part-1.jsonl").write_text("\n".join(rows[:25]) + "\n\n")
    (folder / "part-2.jsonl").write_bytes(("\r\n".join(rows[25:40])).encode())  # no end of line at the end
    (folder / "part-3.jsonl.gz").write_bytes(gzip.compress("\n".join(rows[40:]).encode()))


@pytest.mark.parametrize("name", CASES)
def test_a_run_is_bit_exact_when_it_is_taken_up_again(name: str, files: Path) -> None:
    assert_resumes(CASES[name], files, 3, 9)  # 72 of 60 samples: in the second pass


@pytest.mark.slow
def test_two_ranks_train_the_same_as_one(files: Path) -> None:
    # Ranks of tests may have no children, so no loader workers.
    assert_two_ranks_train_as_one({name: case for name, case in CASES.items() if "loader" not in case}, files)


def test_what_a_stream_trains_is_what_its_rows_as_a_dataset_train(files: Path) -> None:
    rows = [json.dumps({"x": n / N, "y": n % 7, "label": n % 3}) for n in range(N)]
    (files / "all.jsonl").write_text("\n".join(rows))
    dataset = {"train": {"source": "jsonl", "path": "all.jsonl", "columns": COLUMNS}, "shuffle": False}
    left, right = train(None, dataset, None), train(None, CASES["lines, in order"], None)
    assert all(torch.equal(one, other) for one, other in zip(left, right, strict=True))


def test_a_stream_with_a_state_reads_nothing_again() -> None:
    stream = Counted()
    source = Streamed(stream, block=10)
    for index in range(25):
        source[index]
    cursor = source.cursor
    assert cursor == {"block": 2, "passes": 0, "at": 20, "state": {"at": 20}}
    later, plain = Counted(), Plain()
    for other in (later, plain):
        again = Streamed(other, block=10)
        again.seek(cursor if other is later else {**cursor, "state": None})
        assert [again[index][0].tolist() for index in (25, 61)] == [source[index][0].tolist() for index in (25, 61)]
    assert (later.given, plain.given) == (50, 70)  # 20 to 70, in blocks; the other from 0 on


def test_a_resumed_run_that_is_killed_before_its_first_block_ends_goes_on_from_the_same_cursor() -> None:
    source = Streamed(Counted(), block=10)
    cursor = {"block": 3, "passes": 1, "at": 30, "state": {"at": 30}}
    source.seek(cursor)
    source[31]
    assert source.cursor == cursor


def test_each_block_is_shuffled_by_itself_and_differently() -> None:
    order = Blockwise(10, seed=3)
    whole = order(np.arange(40))
    for block in range(4):
        assert sorted(whole[block * 10 : block * 10 + 10]) == list(range(block * 10, block * 10 + 10))
    shifts = {tuple(whole[at : at + 10] - at) for at in range(0, 40, 10)}
    assert len(shifts) == 4
    assert np.concatenate([order(np.arange(at, at + 8)) for at in range(0, 40, 8)]).tolist() == whole.tolist()
    assert whole[:6].tolist() == GOLDEN  # an upgrade must not change the order of a run


GOLDEN = [3, 9, 6, 0, 5, 8]


@pytest.mark.parametrize("is_shuffled", [False, True])
@pytest.mark.parametrize("stop", [1, 9, 25, 31, 44, 80])
def test_a_stream_of_hugging_faces_goes_on_where_it_was(
    stop: int, is_shuffled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets = pytest.importorskip("datasets")
    for name, begin in (("a", 0), ("b", 13), ("c", 26)):
        rows = (json.dumps({"n": n}) for n in range(begin, begin + 13))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))

    def opened() -> Streamed:
        stream = datasets.load_dataset("json", data_files=f"{tmp_path}/*.jsonl", streaming=True, split="train")
        assert is_stream(stream)
        if is_shuffled:  # its state does not hold its buffer
            stream = stream.shuffle(seed=1, buffer_size=10)
        return Streamed(stream, block=5)

    whole, part, again = opened(), opened(), opened()
    expected = [whole[index]["n"] for index in range(100)]
    assert (expected[:39] == list(range(39))) is not is_shuffled
    assert sorted(expected[:39]) == list(range(39))
    for index in range(stop):
        part[index]
    again.seek(json.loads(json.dumps(part.cursor)))
    assert [again[index]["n"] for index in range(stop, 100)] == expected[stop:]
    assert [again[index]["n"] for index in range(30)] == expected[:30]  # back to the beginning


def test_objects_in_s3_are_streamed_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (
        ("ACCESS_KEY_ID", "AKIAVERYSECRET"),
        ("SECRET_ACCESS_KEY", "verysecret"),
        ("EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)
    with s3_server() as server:
        storage = open_storage(f"s3://{BUCKET}/rows", endpoint=server.endpoint)
        for part in range(3):
            rows = (json.dumps({"x": n / N, "y": n % 7, "label": n % 3}) for n in range(part * 20, part * 20 + 20))
            storage.put(f"part-{part}.jsonl", "\n".join(rows).encode())
        storage.put("notes.txt", b"no rows")
        case = {
            "train": {**LINES, "path": f"s3://{BUCKET}/rows/part-*.jsonl", "args": {"endpoint": server.endpoint}},
            "buffer": 7,
        }
        whole = train(None, case, None)
        train(None, case, str(tmp_path / "runs"), steps=9)
        again = train(None, {**case, "loader": {"workers": 2}}, str(tmp_path / "runs"))
        with pytest.raises(DataError, match="no object matches s3://"):
            JsonlStream(f"s3://{BUCKET}/rows/none-*.jsonl", "data", endpoint=server.endpoint)
        with pytest.raises(DataError, match="are not unpacked"):
            JsonlStream(f"s3://{BUCKET}/rows/*.jsonl.gz", "data", endpoint=server.endpoint)
        with pytest.raises(StorageError, match="the bucket does not exist"):
            JsonlStream("s3://nowhere/rows/*.jsonl", "data", endpoint=server.endpoint)
    assert all(torch.equal(one, other) for one, other in zip(whole, again, strict=True))


def test_lines_of_several_files_are_given_with_their_places(files: Path) -> None:
    lines = list(JsonlStream("part-*", "data"))
    assert [json.loads(line.text)["x"] for line in lines] == [n / N for n in range(N)]
    assert lines[25].name == "part-2.jsonl"
    assert lines[26].offset == len(lines[25].text) + 2


def test_a_broken_line_is_named(files: Path) -> None:
    (files / "part-2.jsonl").write_text('{"x": 1, "y": 2, "label": 0}\n{"x": 1,\n')
    job = spec({"train": LINES, "shuffle": False, "buffer": 4})
    source = make_sources(job.data, seed=0).train
    assert source[25][1] == 0
    with pytest.raises(DataError, match=r"part-2.jsonl, the line at byte 29: this is no JSON"):
        source[26]


def test_a_label_out_of_range_is_named(files: Path) -> None:
    job = spec({"train": {**LINES, "classes": 2}, "shuffle": False})
    with pytest.raises(DataError, match=r"part-1.jsonl, the line at byte \d+: the label 2 is out of range"):
        build_parts(job).train.fetch.sample(2)


class Empty(Plain):
    """Has nothing."""

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        return iter(())


class Opaque(Counted):
    """Its state is no JSON."""

    def state_dict(self) -> dict[str, Any]:
        return {"at": object()}


class Numbered(Counted):
    """Its state has keys that JSON makes others of."""

    def state_dict(self) -> dict[Any, int]:
        return {0: self.at}


def generated() -> Iterator[tuple[torch.Tensor, int]]:
    """Can be read once."""
    yield sample(1)


@pytest.mark.parametrize(
    ("name", "message"),
    [("Numbered", "has keys that are no texts"), ("generated", "a generator is used up"), ("Empty", "the stream gave no sample from its beginning to its end"), ("Opaque", "state_dict.. of Opaque is no JSON")],
)  # fmt: skip
def test_a_stream_that_is_none_is_told(name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        train(None, {"train": {"use": f"tests.datasets.test_streams:{name}"}, "buffer": 9}, None)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"split": {"train": 0.9, "val": 0.1}}, "split needs a dataset with a length"),
        ({"fold": {"k": 3, "index": 0}}, "fold needs a dataset with a length"),
        ({"sampler": {"name": "bucket", "column": "x"}}, "sampler needs a dataset with a length"),
        ({"curriculum": {"score": "x", "over": "10step"}}, "curriculum needs a dataset with a length"),
        ({"pack": {"length": 8}}, "pack needs a dataset with a length"),
        ({"onError": "skip"}, "no other sample can stand in"),
        ({"loader": {"workers": 2}}, "write 1"),
        ({"val": {"use": "tests.datasets.test_streams:Plain"}}, "only data.train may be a stream"),
    ],
)
def test_what_needs_a_length_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_sources(spec({"train": {"use": "tests.datasets.test_streams:Plain"}, **keys}).data, seed=0)


def test_a_stream_among_others_of_a_mixture_is_refused(files: Path) -> None:
    (files / "rows.jsonl").write_bytes((files / "part-2.jsonl").read_bytes())
    with pytest.raises(DataError, match=r"only data.train can be a stream"):
        make_sources(spec({"mix": {"others": {"b": {**LINES, "weight": 0.5}}}}).data, seed=0)


def test_validation_labels_have_the_numbers_of_a_streams_classes(files: Path) -> None:
    for name in ("part-4.jsonl", "val.jsonl"):
        (files / name).write_text('{"x": 1.0, "y": 2, "label": "cat"}\n')
    train = {**LINES, "path": "part-4.jsonl", "classes": ["dog", "cat"]}
    sources = make_sources(
        spec({"train": train, "val": {"source": "jsonl", "path": "val.jsonl", "columns": COLUMNS}}).data, seed=0
    )
    assert sources.val is not None
    assert sources.train[0][1] == sources.val[0][1] == 1


def test_a_stream_that_has_shrunk_is_told() -> None:
    source = Streamed(Plain(), block=10)
    source.seek({"block": 7, "passes": 1, "at": N + 10, "state": None})
    with pytest.raises(DataError, match="the stream ends before its sample 70, where the run was"):
        source[75]


def test_what_is_read_in_workers_can_be_sent_to_them(files: Path) -> None:
    source = pickle.loads(pickle.dumps(make_sources(spec({"train": LINES}).data, seed=0).train))
    assert source[1][1] == 1


@pytest.mark.parametrize(
    ("rest", "where"),
    [
        ({"duration": "2ep"}, "duration"),
        ({"profile": {"at": "1ep"}}, "profile.at"),
        ({"schedule": {"name": "cosine", "warmup": "1ep"}}, "schedule.warmup"),
        ({"checkpoint": {"every": ["1ep", "5min"]}}, "checkpoint.every"),
    ],
)
def test_epochs_of_a_stream_are_refused(rest: dict[str, Any], where: str) -> None:
    keys = {"duration": "10step", **rest}
    with pytest.raises(DataError, match=f"{where} is .*ep, but data.train is a stream"):
        train_with(keys)


def train_with(rest: dict[str, Any]) -> None:
    from ktrain_trainer import place
    from ktrain_trainer.assemble import assemble
    from ktrain_trainer.stop import StopFlag
    from ktrain_trainer.world import World

    job = spec({"train": {"use": "tests.datasets.test_streams:Plain"}}, **rest)
    assemble(job, build_parts(job), World.alone("cpu"), place.nowhere(), stop=StopFlag())


def test_streams_of_files_that_are_none_are_refused_at_the_door() -> None:
    for wrong, message in (
        ({"train": {**LINES, "source": "csv"}}, "only jsonl files are streamed"),
        ({"train": {"use": "m:Net", "stream": True}}, "is a stream by itself"),
        ({"train": LINES, "val": LINES}, "only data.train can be a stream"),
    ):
        with pytest.raises(ValueError, match=message):
            Data.model_validate(wrong)


def test_a_notebook_takes_a_stream() -> None:
    model = torch.nn.Linear(2, 3)
    fitted = ktrain.fit(
        model,
        Counted(),
        duration="20step",
        batch={"global": 8, "micro": 8},
        optim={"name": "sgd", "lr": 0.1},
    )
    assert fitted.progress.samples == 160
    with pytest.raises((SpecError, DataError), match="is a stream"):
        ktrain.fit(model, Plain(), duration="2ep", batch={"global": 8, "micro": 8}, optim={"name": "sgd", "lr": 0.1})


def test_its_first_samples_can_be_shown(files: Path) -> None:
    from ktrain.spec import TrainingJob

    trainer = spec({"train": LINES}).model_dump(mode="json", by_alias=True)
    job = TrainingJob.model_validate(
        {"apiVersion": "ktrain.dev/v1", "kind": "TrainingJob", "metadata": {"name": "s"}, "spec": {"image": "i", "trainer": trainer}}
    )  # fmt: skip
    found = show_data.show(job, 3, "train")
    assert found["samples"] is None
    assert len(found["shown"]) == 3
    with pytest.raises(DataError, match="a stream, which has no end"):
        show_data.prepare(job, files / "out", 10, transform=False)
