"""Transforms are each split's own and keyed by seed and position; samples of unequal length are padded."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ktrain.errors import BuildError, DataError
from ktrain.spec.data import Data
from ktrain.spec.transform import Transform
from ktrain_trainer.data import Loader, make_loader
from ktrain_trainer.datasets import transforms
from ktrain_trainer.datasets.text_aug import TEXT
from ktrain_trainer.plan import Cut, Stream
from ktrain_trainer.sources import make_sources
from tests.datasets.test_sources import write_boxes, write_folder

WORDS = "one two three four five six seven eight nine ten"


def chain(*steps: dict[str, Any]) -> transforms.Chain:
    return transforms.make([Transform.model_validate(step) for step in steps], "data.transform.train")


def loaders(spec: dict[str, Any]) -> tuple[Loader, Loader]:
    data = Data.model_validate(spec)
    sources = make_sources(data, seed=4)
    return make_loader(data, sources.train, seed=4, split="train"), make_loader(data, sources.val, seed=4, split="val")


def batches(loader: Loader, micro: int = 2) -> list[Any]:
    size = len(loader.fetch.source)
    return [it.data for it in loader.batches(Cut(micro, 0, 1).each(Stream(size, seed=0, shuffle=False), 0, size))]


@pytest.fixture
def texts(tmp_path: Path) -> str:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": WORDS, "label": n % 2}) + "\n" for n in range(30)))
    return str(path)


def text_spec(path: str, workers: int = 0) -> dict[str, Any]:
    return {
        "train": {"source": "jsonl", "path": path, "columns": {"input": "text", "target": "label"}},
        "split": {"train": 0.7, "val": 0.3},
        "transform": {"train": [{"name": "swap_words", "args": {"probability": 0.5}}, {"name": "drop_words"}]},
        "loader": {"workers": workers},
    }


def test_the_transforms_of_one_split_do_not_reach_another(texts: str) -> None:
    train, val = loaders(text_spec(texts))
    assert {text for inputs, _ in batches(val) for text in inputs} == {WORDS}
    assert len({text for inputs, _ in batches(train) for text in inputs}) > 10


def test_a_random_transform_depends_on_the_position_only(texts: str) -> None:
    def flat(loader: Loader, micro: int) -> list[str]:
        return [text for inputs, _ in batches(loader, micro) for text in inputs]

    here, workers = (loaders(text_spec(texts, number))[0] for number in (0, 2))
    assert flat(here, 2) == flat(here, 5) == flat(workers, 2)


@pytest.mark.parametrize("name", TEXT)
def test_words_are_changed_but_none_is_invented(name: str) -> None:
    torch.manual_seed(0)
    changed = chain({"name": name, "args": {"probability": 0.5}})({"text": WORDS})["text"]
    assert changed != WORDS
    assert set(changed.split()) <= set(WORDS.split())
    assert chain({"name": name, "args": {"probability": 0.0}})({"text": WORDS})["text"] == WORDS
    assert chain({"name": name, "args": {"probability": 1.0}})(("word", 1))[0].split()[0] == "word"


def test_images_and_boxes_are_changed_together(tmp_path: Path) -> None:
    spec = {
        "train": {"source": "annotations", "path": str(write_boxes(tmp_path))},
        "transform": {
            "train": [
                {"name": "RandomHorizontalFlip", "args": {"p": 1.0}},
                {
                    "name": "RandomApply",
                    "args": {"transforms": [{"name": "Resize", "args": {"size": [8, 12]}}], "p": 1.0},
                },
                {"name": "ToDtype", "args": {"dtype": "float32", "scale": True}},
            ]
        },
    }
    data = Data.model_validate(spec)
    fetch = make_loader(data, make_sources(data, seed=0).train, seed=0, split="train").fetch
    image, target = fetch.sample(0)
    assert (image.shape, image.dtype) == ((3, 8, 12), torch.float32)
    assert target["boxes"].tolist() == [[8, 0, 12, 6], [2, 2, 10, 8]]  # flipped, then twice the size


def test_image_folders_become_batches(tmp_path: Path) -> None:
    spec = {
        "train": {"source": "imagefolder", "path": str(write_folder(tmp_path))},
        "val": {"source": "imagefolder", "path": f"{tmp_path}/images"},
        "transform": {"val": [{"name": "CenterCrop", "args": {"size": 4}}, {"use": "tests.datasets.test_transforms:halved", "on": "input"}]},
    }  # fmt: skip
    images, labels = batches(loaders(spec)[1])[0]
    assert images.shape == (2, 3, 4, 4)
    assert labels.tolist() == [0, 1]


def halved() -> Any:
    return lambda image: image / 2


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"name": "RandomCorp", "args": {"size": 4}}, r"transform\.train\[0\]\.name: .* has no 'RandomCorp'; did you mean 'RandomCrop'"),
        ({"name": "RandomCrop", "args": {"sise": 4}}, r"args: RandomCrop takes no 'sise'; did you mean 'size'"),
        ({"name": "swap_words", "args": {"p": 1}}, "SwapWords takes no 'p'"),
        ({"name": "ToDtype", "args": {"dtype": "float33"}}, "torch has no dtype 'float33'"),
        ({"use": "math:pi"}, "pi gave a float; it must give a function of a sample"),
    ],
)  # fmt: skip
def test_a_wrong_transform_is_told(step: dict[str, Any], message: str) -> None:
    with pytest.raises(BuildError, match=message):
        chain(step)


def test_a_part_that_is_not_there_is_told() -> None:
    with pytest.raises(DataError, match="a transform is on 'input', but the sample has body; set its on:"):
        chain({"name": "swap_words"})({"body": "x"})


@pytest.mark.parametrize("step", [{}, {"name": "Resize", "use": "a:b"}])
def test_a_transform_is_a_name_or_an_import_path(step: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"(neither|both) name"):
        Transform.model_validate(step)


class TestPadding:
    def collated(
        self, rows: list[dict[str, Any]], folder: Path, columns: dict[str, str] | None = None, **args: Any
    ) -> Any:
        path = folder / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        spec = {
            "train": {"source": "jsonl", "path": str(path), "columns": columns or {}},
            "collate": {"use": "pad", "args": args},
        }
        data = Data.model_validate(spec)
        return batches(make_loader(data, make_sources(data, seed=0).train, seed=0), micro=9)[0]

    def test_the_longest_decides(self, tmp_path: Path) -> None:
        rows = [{"input_ids": [5, 6, 7], "labels": [1, 2, 3], "id": 1}, {"input_ids": [8], "labels": [4], "id": 2}]
        batch = self.collated(rows, tmp_path, multiple=4, mask=True)
        assert batch["input_ids"].tolist() == [[5, 6, 7, 0], [8, 0, 0, 0]]
        assert batch["labels"].tolist() == [[1, 2, 3, -100], [4, -100, -100, -100]]
        assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]
        assert batch["id"].tolist() == [1, 2]

    def test_pairs_stay_pairs(self, tmp_path: Path) -> None:
        rows = [{"x": [1.5, 2.0], "y": 1}, {"x": [3.0], "y": 0}]
        inputs, targets = self.collated(rows, tmp_path, {"input": "x", "target": "y"}, value=-1)
        assert inputs.tolist() == [[1.5, 2.0], [3.0, -1.0]]
        assert targets.tolist() == [1, 0]

    def test_without_padding_unequal_lengths_are_told(self, tmp_path: Path) -> None:
        path = tmp_path / "rows.jsonl"
        path.write_text('{"x": [1, 2]}\n{"x": [1]}\n')
        data = Data.model_validate({"train": {"source": "jsonl", "path": str(path)}})
        with pytest.raises(DataError, match=r"unequal shapes .*write collate: \{use: pad\}"):
            batches(make_loader(data, make_sources(data, seed=0).train, seed=0))
