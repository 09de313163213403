"""Weights as safetensors files: what the libraries of others read from them is what was trained, bit for bit."""

import json
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import TensorDataset
from transformers import BertConfig, BertForSequenceClassification
from typer.testing import CliRunner

import ktrain_trainer as ktrain
from ktrain.checkpoints import safetensors
from ktrain.checkpoints.boxes import Box, runs
from ktrain.checkpoints.export import export
from ktrain.checkpoints.manifest import Manifest
from ktrain.checkpoints.read import read_manifest
from ktrain.cli.app import build as build_app
from ktrain.errors import CheckpointError, StorageError
from ktrain.history import read_head
from ktrain.storage import Storage, open_storage
from tests.checkpoint.goldens import FOLDER, Kinds
from tests.checkpoint.models import build, train
from tests.checkpoint.test_damage import flip, save_steps
from tests.ranks import run_ranks, values


def opened(folder: Path, step: int | None = None) -> tuple[Storage, Manifest]:
    storage = open_storage(str(folder))
    head = read_head(storage)
    assert head is not None
    commit = next(it for it in reversed(head.commits) if step in {None, it.step})
    return storage, read_manifest(storage, commit)


def written(folder: Path, out: Path, most_bytes: int = 1 << 30, **how: Any) -> dict[str, torch.Tensor]:
    storage, manifest = opened(folder)
    wanted = safetensors.weights(manifest, **{"average": False, **how})
    parts = safetensors.layout(manifest, wanted, most_bytes=most_bytes)
    export(storage, manifest, parts, out, on_bytes=lambda _: None)
    found = [load_file(path) for path in sorted(out.glob("*.safetensors"))]
    return {name: value for part in found for name, value in part.items()}


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("most_bytes", [1, 300, 1 << 30])
def test_what_one_rank_has_saved_is_read_with_all_shared_names(tmp_path: Path, most_bytes: int) -> None:
    save_steps(open_storage(str(tmp_path / "run")), 1, 2)
    model, optimizer = build("plain", "tiny")
    train(model, optimizer, range(2))
    assert_same(written(tmp_path / "run", tmp_path / "out", most_bytes), model.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "size"), [("plain", 3), ("fsdp", 2)])
def test_what_several_ranks_have_saved_is_read_whole(tmp_path: Path, mode: str, size: int) -> None:
    values(run_ranks("tests.checkpoint.work:save", size, str(tmp_path / "run"), mode, 2, "tiny"))
    model, optimizer = build("plain", "tiny")
    train(model, optimizer, range(2))
    found = written(tmp_path / "run", tmp_path / "out", 200)
    assert set(found) == set(model.state_dict())
    if mode == "plain":  # in shards, each rank's gradients are others
        assert_same(found, dict(model.state_dict()))


def test_golden_weights_of_every_kind_are_read(tmp_path: Path) -> None:
    assert_same(written(FOLDER / "single", tmp_path / "out"), Kinds(3).state_dict())


def test_a_kind_that_the_format_lacks_is_named() -> None:
    _, manifest = opened(FOLDER / "single")
    odd = {**manifest.tensors, "model.int": replace(manifest.tensors["model.int"], dtype="complex64")}
    wanted = safetensors.weights(manifest, average=False)
    with pytest.raises(
        CheckpointError, match="the weight int is complex64, which the safetensors format does not have"
    ):
        safetensors.layout(replace(manifest, tensors=odd), wanted, most_bytes=1)


@given(st.data())
def test_runs_are_what_numpy_copies(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 5), max_size=4))
    offset = [data.draw(st.integers(0, n - 1)) for n in shape]
    size = [data.draw(st.integers(1, n - begin)) for n, begin in zip(shape, offset, strict=True)]
    box = np.arange(1, prod(size) + 1).reshape(size)
    expected = np.zeros(shape, int)
    expected[tuple(slice(begin, begin + n) for begin, n in zip(offset, size, strict=True))] = box
    found = np.zeros(prod(shape), int)
    for inside, outside, length in runs(Box(tuple(offset), tuple(size)), tuple(shape)):
        found[outside : outside + length] = box.reshape(-1)[inside : inside + length]
    assert found.tolist() == expected.reshape(-1).tolist()


def test_transformers_loads_it_sharded_and_computes_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    make: Any = BertConfig
    config = make(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, num_labels=3
    )

    class Task:
        def __call__(self, model: nn.Module, batch: Any) -> ktrain.Out:
            tokens, labels = batch
            logits = model(input_ids=tokens).logits
            return ktrain.Out(nn.functional.cross_entropy(logits, labels, reduction="sum"), len(labels))

    model: Any = BertForSequenceClassification(config)
    data = TensorDataset(torch.randint(0, 50, (32, 6)), torch.randint(0, 3, (32,)))
    ktrain.fit(
        model, data, duration="3step", batch={"global": 8, "micro": 8}, optim={"name": "adamw", "lr": 1e-2, "ema": {"decay": 0.5}},
        loss=Task(), storage=str(tmp_path / "runs"), name="bert",
    )  # fmt: skip
    (head,) = (tmp_path / "runs").rglob("HEAD")
    written(head.parent, tmp_path / "out", 5000)
    config.save_pretrained(tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 1
    library: Any = BertForSequenceClassification
    loaded, told = library.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    tokens = torch.randint(0, 50, (4, 6))
    assert torch.equal(loaded.eval()(input_ids=tokens).logits, model.eval()(input_ids=tokens).logits)
    mean = written(head.parent, tmp_path / "mean", average=True)
    assert set(mean) == set(model.state_dict())
    assert not torch.equal(mean["classifier.weight"], model.state_dict()["classifier.weight"])


def trained(folder: Path, model: nn.Module) -> Path:
    data = TensorDataset(torch.randn(8, 3), torch.randn(8, 1))
    ktrain.fit(
        model, data, duration="1step", batch={"global": 8, "micro": 8}, optim={"name": "sgd", "lr": 0.1}, loss="mse",
        storage=str(folder / "runs"),
    )  # fmt: skip
    (head,) = (folder / "runs").rglob("HEAD")
    return head.parent


def test_names_lose_their_beginning(tmp_path: Path) -> None:
    wrapped = nn.Sequential()
    wrapped.add_module("net", nn.Linear(3, 1))
    run = trained(tmp_path, wrapped)
    assert set(written(run, tmp_path / "out", strip="net.")) == {"weight", "bias"}
    with pytest.raises(CheckpointError, match=r"the weight net.\w+ does not begin with other"):
        written(run, tmp_path / "none", strip="other.")
    with pytest.raises(CheckpointError, match="has no average of the weights"):
        written(run, tmp_path / "none", average=True)


def test_damage_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    save_steps(open_storage(str(tmp_path / "run")), 3)
    flip(tmp_path / "run" / "a0001-e0001" / "step-000000003")
    with pytest.raises(CheckpointError, match="is damaged: the checksum of block 1"):
        written(tmp_path / "run", tmp_path / "below" / "out")
    assert list((tmp_path / "below").iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    save_steps(open_storage(str(tmp_path / "run")), 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(StorageError, match="is there already; name a new folder"):
        written(tmp_path / "run", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
    with pytest.raises(StorageError, match="cannot be written: "):
        written(tmp_path / "run", tmp_path / "out" / "mine" / "below")


def test_the_command_says_what_it_has_written(tmp_path: Path) -> None:
    run = trained(tmp_path, nn.Linear(3, 1))
    args = ["checkpoints", "export", str(run), "--out", str(tmp_path / "out"), "-o", "json"]
    done = CliRunner().invoke(build_app("checkpoints"), args)
    told = json.loads(done.stdout)
    assert (told["step"], told["tensors"]) == (1, 2)
    assert told["files"] == [str(tmp_path / "out" / "model.safetensors")]
    assert Path(told["files"][0]).stat().st_size == told["bytes"]
    missing = CliRunner().invoke(build_app("checkpoints"), [*args, "--step", "7"])
    assert "has no checkpoint of step 7" in str(missing.exception)
