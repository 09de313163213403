"""Files in common formats are datasets; what is wrong in them is told with file and row."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from ktrain.errors import BuildError, DataError
from ktrain.spec.data import Data
from ktrain.spec.dataset import Dataset
from ktrain_trainer.data import Fetch, Loader, fingerprint
from ktrain_trainer.datasets import SOURCES, open_table
from ktrain_trainer.datasets.table import Table
from ktrain_trainer.plan import Cut, Stream
from ktrain_trainer.sources import make_sources

ROWS = [{"text": "good", "label": 1, "x": 0.5}, {"text": "bad", "label": 0, "x": 1.5}, {"text": "so, so", "label": 1, "x": -1.0}]  # fmt: skip


def table(source: str, path: Path | str | list[Path], **rest: Any) -> Table:
    paths = [str(it) for it in path] if isinstance(path, list) else str(path)
    return open_table(Dataset.model_validate({"source": source, "path": paths, **rest}), "data.train")


def write_jsonl(folder: Path) -> Path:
    (folder / "rows.jsonl").write_text("\n\n".join(json.dumps(row) for row in ROWS) + "\r\n")
    return folder / "rows.jsonl"


def write_json(folder: Path) -> Path:
    (folder / "rows.json").write_text(json.dumps(ROWS))
    return folder / "rows.json"


def write_csv(folder: Path) -> Path:
    lines = ["text,label,x", *(f'"{row["text"]}",{row["label"]},{row["x"]}' for row in ROWS)]
    (folder / "rows.csv").write_text("\n".join(lines))
    return folder / "rows.csv"


def write_parquet(folder: Path, rows: list[dict[str, Any]] = ROWS, name: str = "rows.parquet") -> Path:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / name, row_group_size=2)
    return folder / name


def write_image(path: Path, value: int) -> Path:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(path)
    return path


def write_folder(folder: Path) -> Path:
    for value, name in enumerate(("cat/a.png", "dog/b.png", "dog/deep/c.png")):
        write_image(folder / "images" / name, value)
    return folder / "images"


def write_boxes(folder: Path) -> Path:
    write_image(folder / "one.png", 7)
    entries = [
        {"image": "one.png", "boxes": [[0, 0, 2, 3], [1, 1, 5, 4]], "labels": ["ring", "disk"]},
        {"image": "one.png", "boxes": [], "labels": []},
    ]
    (folder / "boxes.json").write_text(json.dumps(entries))
    return folder / "boxes.json"


def write_text(folder: Path) -> Path:
    (folder / "text.txt").write_text("first line\n\nsecond\n")
    return folder / "text.txt"


TABULAR: dict[str, Callable[[Path], Path]] = {
    "jsonl": write_jsonl,
    "json": write_json,
    "csv": write_csv,
    "parquet": write_parquet,
}
OTHERS: dict[str, Callable[[Path], Path]] = {
    "imagefolder": write_folder,
    "annotations": write_boxes,
    "text": write_text,
}


def test_every_source_has_a_case() -> None:
    assert set(SOURCES) == {*TABULAR, *OTHERS}


@pytest.mark.parametrize("source", TABULAR)
class TestTabular:
    def test_rows_are_the_same_in_every_format(self, source: str, tmp_path: Path) -> None:
        found = table(source, TABULAR[source](tmp_path))
        assert len(found) == 3
        assert [{**found[index], "x": found[index]["x"].item()} for index in (2, 0, 1)] == [ROWS[2], ROWS[0], ROWS[1]]
        assert found[0]["x"].dtype == torch.float32

    def test_input_and_target_are_a_pair(self, source: str, tmp_path: Path) -> None:
        found = table(source, TABULAR[source](tmp_path), columns={"input": ["x", "label"], "target": "label"})
        inputs, targets = default_collate([found[0], found[1]])
        assert inputs.tolist() == [[0.5, 1.0], [1.5, 0.0]]
        assert targets.tolist() == [1, 0]

    def test_a_missing_column_is_named_before_the_first_step(self, source: str, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"data\.train: .*rows\.\w+:\d: there is no column 'txt'; there are 'text'"):
            table(source, TABULAR[source](tmp_path), columns={"input": "txt"})

    def test_a_label_out_of_range_is_named(self, source: str, tmp_path: Path) -> None:
        found = table(source, TABULAR[source](tmp_path), classes=1)
        with pytest.raises(DataError, match=r"rows\.\w+:\d: the label 1 is out of range; the 1 classes are 0 to 0"):
            found[0]

    def test_named_classes_become_numbers(self, source: str, tmp_path: Path) -> None:
        columns = {"input": "x", "target": "text"}
        found = table(source, TABULAR[source](tmp_path), columns=columns, classes=["bad", "good", "so, so"])
        assert [found[index][1] for index in range(3)] == [1, 0, 2]

    def test_a_column_is_read_by_either_name(self, source: str, tmp_path: Path) -> None:
        found = table(source, TABULAR[source](tmp_path), columns={"input": "x", "target": "label"})
        assert found.column("text") == ["good", "bad", "so, so"]
        assert found.column("target") == [1, 0, 1]
        with pytest.raises(DataError, match="there is no column 'user'"):
            found.column("user")


@pytest.mark.parametrize("source", SOURCES)
class TestEverySource:
    def opened(self, source: str, folder: Path) -> Table:
        return table(source, ({**TABULAR, **OTHERS}[source])(folder))

    def test_workers_read_what_the_main_process_reads(self, source: str, tmp_path: Path) -> None:
        found = self.opened(source, tmp_path)
        found[0]
        again = pickle.loads(pickle.dumps(found))
        assert str([again[index] for index in range(len(found))]) == str([found[index] for index in range(len(found))])

    def test_the_fingerprint_stays_when_the_folder_moves_and_changes_with_the_data(
        self, source: str, tmp_path: Path
    ) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        write = {**TABULAR, **OTHERS}[source]
        first, second = (table(source, write(tmp_path / name)) for name in "ab")
        assert fingerprint(first) == fingerprint(second)
        path = write(tmp_path / "b")
        if path.is_dir():
            write_image(path / "dog" / "z.png", 9)
        elif source == "parquet":
            write_parquet(tmp_path / "b", ROWS[:2])
        else:
            path.write_bytes(path.read_bytes() + b"\n")
        assert table(source, path).fingerprint() != first.fingerprint()

    def test_identities_differ(self, source: str, tmp_path: Path) -> None:
        found = self.opened(source, tmp_path)
        assert source == "annotations" or len({found.identity(index) for index in range(len(found))}) == len(found)


class TestFiles:
    def test_a_pattern_stands_for_its_files_in_sorted_order(self, tmp_path: Path) -> None:
        for name in ("b", "a", "c"):
            (tmp_path / f"{name}.jsonl").write_text(json.dumps({"n": name}))
        assert table("jsonl", tmp_path / "*.jsonl").column("n") == ["a", "b", "c"]
        assert table("jsonl", [tmp_path / "c.jsonl", tmp_path / "[ab].jsonl"]).column("n") == ["c", "a", "b"]

    def test_a_parquet_row_is_found_behind_files_and_groups(self, tmp_path: Path) -> None:
        write_parquet(tmp_path, [{"n": n} for n in range(5)], "a.parquet")
        write_parquet(tmp_path, [{"n": n} for n in range(5, 12)], "b.parquet")
        found = table("parquet", tmp_path / "*.parquet", args={"cache": 1})
        assert [found[n]["n"] for n in (11, 0, 5, 4, 7)] == [11, 0, 5, 4, 7]
        assert found.place(6).endswith("b.parquet:2")
        assert found.column("n") == list(range(12))

    def test_an_index_is_built_once_and_anew_for_a_changed_file(self, tmp_path: Path) -> None:
        path = write_text(tmp_path)
        assert len(table("text", path)) == 2
        path.write_text("one\ntwo\nthree\r\n")
        assert [row["text"] for row in table("text", path)] == ["one", "two", "three"]  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("source", "name", "content", "message"),
        [
            ("jsonl", "a.jsonl", '{"x": 1}\n{"x": \n', r"a\.jsonl:2: this is no JSON"),
            ("jsonl", "a.jsonl", '\n{"x": 1}\n[2]', r"a\.jsonl:3: expected a JSON object, but this is a list"),
            ("jsonl", "a.jsonl", '{"x": [[1], [1, 2]]}', r"a\.jsonl:1: 'x' is ragged"),
            ("json", "a.json", '{"x": 1}', r"a\.json: expected a list of objects, but this is a dict"),
            ("json", "a.json", '[{"x": 1}, 2]', r"a\.json:2: expected an object, but this is a int"),
            ("json", "a.json", "[", r"a\.json: this is no JSON"),
            ("csv", "a.csv", "x,y\n1,2\n3\n", r"a\.csv:3: the row has 1 fields, but there are 2 columns"),
            ("csv", "a.csv", 'x,y\n1,"2\n', r"a\.csv:\d: this is no CSV"),
            ("csv", "a.csv", "x,x\n1,2\n", r"a\.csv: the header names a column twice"),
            ("csv", "a.csv", "x,y\n", r"a\.csv has no rows"),
            ("parquet", "a.parquet", "no", r"a\.parquet is no readable Parquet file"),
            ("text", "a.txt", "\n\n", r"a\.txt has no rows"),
            ("imagefolder", "a", "", r"a is no folder"),
            ("annotations", "a.json", '[{"label": 1}]', r"a\.json:1: the entry has no image"),
            ("annotations", "a.json", '[{"image": "a.png"}]', r"a\.json:1: the entry has neither label nor boxes"),
            ("annotations", "a.json", '[{"image": "a.png", "boxes": [[1, 2]], "labels": [1]}]', r":1: boxes must be"),
            ("annotations", "a.json", '[{"image": "a.png", "boxes": [[0, 0, 1, 1]]}]', r":1: there are 1 boxes"),
        ],
    )
    def test_wrong_data_is_told_with_file_and_row(
        self, source: str, name: str, content: str, message: str, tmp_path: Path
    ) -> None:
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=message):
            list(table(source, tmp_path / name))  # type: ignore[call-overload]

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("nothing.jsonl", "there is no nothing.jsonl"),
            ("nothing/*.jsonl", "no file matches nothing/"),
            ("s3://bucket/a.jsonl", "is a URL; sources read local files"),
            (".", "is a folder; name the files in it"),
        ],
    )
    def test_a_path_that_stands_for_nothing_is_told(self, path: str, message: str) -> None:
        with pytest.raises(DataError, match=message):
            table("jsonl", path)

    def test_an_argument_that_the_source_does_not_take_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(BuildError, match=r"data\.train\.args: open_csv takes no 'delimeter'; did you mean"):
            table("csv", write_csv(tmp_path), args={"delimeter": ";"})


class TestImages:
    def test_folders_are_classes_and_validation_has_the_same_numbers(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        write_image(tmp_path / "val" / "dog" / "z.png", 3)
        spec = {"train": {"source": "imagefolder", "path": f"{tmp_path}/images"}, "val": {"source": "imagefolder", "path": f"{tmp_path}/val"}}  # fmt: skip
        sources = make_sources(Data.model_validate(spec), seed=0)
        image, label = sources.train[0]
        assert (image.shape, image.dtype, label) == ((3, 4, 6), torch.uint8, 0)
        assert sources.val is not None
        assert sources.val[0][1] == 1  # dog, though val has no cat

    def test_boxes_keep_their_kind(self, tmp_path: Path) -> None:
        from torchvision import tv_tensors

        image, target = table("annotations", write_boxes(tmp_path))[0]
        assert isinstance(target["boxes"], tv_tensors.BoundingBoxes)
        assert image.shape == (3, 4, 6)
        assert target["labels"].tolist() == [1, 0]
        assert table("annotations", tmp_path / "boxes.json")[1][1]["boxes"].shape == (0, 4)

    def test_an_unreadable_image_is_named(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        (tmp_path / "images" / "cat" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
        with pytest.raises(DataError, match=r"image 1: .*cat/a\.png: this is no readable image"):
            table("imagefolder", tmp_path / "images")[0]


class TestText:
    def test_windows_of_bytes_and_characters(self, tmp_path: Path) -> None:
        (tmp_path / "t.txt").write_text("abcdé")
        args = {"unit": "byte", "length": 4, "stride": 2}
        assert [it["input_ids"].tolist() for it in table("text", tmp_path / "t.txt", args=args)] == [  # type: ignore[attr-defined]
            [97, 98, 99, 100],
            [99, 100, 195, 169],
        ]
        chars = table("text", tmp_path / "t.txt", args={**args, "unit": "char"})
        assert [it["input_ids"].tolist() for it in chars] == [[0, 1, 2, 3]]  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_source_feeds_the_loader(workers: int, tmp_path: Path) -> None:
    found = table("parquet", write_parquet(tmp_path), columns={"input": "x", "target": "label"})
    loader = Loader(Fetch(found, default_collate, 0), workers)
    batches = loader.batches(Cut(2, 0, 1).each(Stream(3, seed=0, shuffle=False), 0, 3))
    assert [batch.data[1].tolist() for batch in batches] == [[1, 0], [1]]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "neither use nor source"),
        ({"use": "a:b", "source": "csv", "path": "x"}, "both use and source"),
        ({"source": "csv"}, "there is no path"),
        ({"use": "a:b", "path": "x"}, "belong to source"),
        ({"source": "csv", "path": "x", "classes": []}, "classes is empty"),
        ({"source": "csv", "path": "x", "classes": ["a", "a"]}, "names one class twice"),
        ({"source": "tsv", "path": "x"}, "Input should be 'jsonl'"),
    ],
)
def test_a_wrong_dataset_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dataset.model_validate(spec)
