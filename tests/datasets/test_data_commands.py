"""`ktrain data show` prints samples as they go into batches; `ktrain data prepare` writes them into files once."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ktrain.cli.app import run
from ktrain.errors import DataError
from ktrain.names import CliExit
from ktrain.spec import TrainingJob
from ktrain.spec.dataset import Dataset
from ktrain_trainer.datasets import open_table
from ktrain_trainer.show_data import describe, prepare, show
from tests.datasets.test_orders import spec, write


def job(keys: dict[str, Any]) -> TrainingJob:
    trainer = spec(keys).model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return TrainingJob.model_validate({"metadata": {"name": "demo"}, "spec": {"trainer": trainer}})


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)


def test_samples_are_described() -> None:
    found = show(job({"split": {"train": 0.8, "val": 0.2}}), 2, "val")
    assert 5 <= found["samples"] <= 20
    assert len(found["shown"]) == 2
    assert found["shown"][0]["place"].startswith("rows.jsonl:")
    assert found["shown"][0]["parts"]["input"].startswith("float32 (2,), ")
    assert sum(found["labels"].values()) == found["samples"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (torch.tensor([1, 5]), [("", "int64 (2,), 1 to 5, mean 3")]),
        (torch.zeros(0, 4), [("", "float32 (0, 4), empty")]),
        ({"a": torch.tensor(2.5), "b": {"c": "x"}}, [("a", "float32 2.5"), ("b.c", "'x'")]),
        (("text", 1), [("input", "'text'"), ("target", "1")]),
        ("x" * 300, [("", "'" + "x" * 199 + "… (300 long)")]),
    ],
)
def test_values_are_told_in_a_line(value: Any, told: list[tuple[str, str]]) -> None:
    found = describe(value)
    assert [name for name, _ in found] == [name for name, _ in told]
    assert [text[:40] for _, text in found] == [text[:40] for _, text in told]


def test_windows_of_text_are_decoded(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("hello world")
    demo = job({"train": {"source": "text", "path": "t.txt", "args": {"unit": "char", "length": 5}}})
    assert show(demo, 1, "train")["shown"][0]["parts"]["input_ids as text"] == "'hello'"


def test_a_split_that_is_not_there_is_told() -> None:
    with pytest.raises(DataError, match=r"data\.test: the job has no test data"):
        show(job({}), 1, "test")


def test_prepared_files_hold_what_the_job_trains_on(tmp_path: Path) -> None:
    demo = job({"split": {"train": 0.8, "val": 0.2}})
    manifest = prepare(demo, tmp_path / "out", 10, transform=False)
    files = manifest["splits"]["train"]["files"]
    assert len(files) == -(-manifest["splits"]["train"]["samples"] // 10)
    again = open_table(Dataset.model_validate({"source": "parquet", "path": f"{tmp_path}/out/train/*.parquet"}), "x")
    assert len(again) == manifest["splits"]["train"]["samples"]
    assert set(again[0]) == {"input", "target"}
    assert again[0]["input"].shape == (2,)


def test_an_interrupted_preparation_is_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(job({}), out, 25, transform=False)
    (out / "manifest.json").unlink()
    (out / "train" / "part-00001.parquet").unlink()
    kept = (out / "train" / "part-00000.parquet").stat().st_mtime_ns
    prepare(job({}), out, 25, transform=False)
    assert (out / "train" / "part-00000.parquet").stat().st_mtime_ns == kept
    assert sorted(it.name for it in (out / "train").iterdir()) == [f"part-{n:05d}.parquet" for n in range(3)]
    assert (out / "manifest.json").exists()


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    prepare(job({}), tmp_path / "out", 25, transform=False)
    with pytest.raises(DataError, match="holds files of other data or settings"):
        prepare(job({}), tmp_path / "out", 30, transform=False)
    with pytest.raises(DataError, match="is not empty; name another folder"):
        prepare(job({}), tmp_path, 30, transform=False)


def test_the_commands_print(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(job({}).model_dump(mode="json", by_alias=True, exclude_defaults=True)))
    assert run(["data", "show", str(path), "--n", "1"]) == CliExit.OK
    told = capsys.readouterr().out
    assert "rows.jsonl:1\n  input            float32 (2,)" in told
    assert "labels\n" in told
    assert "torch" in sys.modules  # of this test; the command itself asks a process of its own
