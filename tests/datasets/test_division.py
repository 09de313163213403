"""Splits and folds: by hash, so that a sample stays where it is; groups stay together, classes are spread evenly."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrain.errors import DataError
from ktrain.spec.data import Data
from ktrain.spec.sampling import Fold, Split
from ktrain_trainer.data import fingerprint
from ktrain_trainer.division import View, divide, fold
from ktrain_trainer.sources import make_sources

SPLIT = {"train": 0.8, "val": 0.1, "test": 0.1}


class People:
    """Rows of several users each; classes of very unequal size."""

    def __init__(self, size: int = 1000) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"user": index % 97, "label": "rare" if index % 20 == 3 else "common", "x": torch.tensor(index)}


class Pairs(People):
    """Samples without names."""

    def __getitem__(self, index: int) -> Any:
        return (torch.tensor([float(index)]), torch.tensor(index % 3))


def members(parts: dict[str, View]) -> dict[str, set[int]]:
    return {name: set(view.indices.tolist()) for name, view in parts.items()}


def split(source: Any = None, **keys: Any) -> dict[str, View]:
    return divide(source or People(), Split.model_validate({**SPLIT, **keys}))


@pytest.mark.parametrize("keys", [{}, {"groupBy": "user"}, {"stratifyBy": "label"}], ids=["plain", "group", "stratify"])
class TestSplit:
    def test_each_sample_is_in_one_part(self, keys: dict[str, Any]) -> None:
        parts = split(**keys)
        assert sorted(index for view in parts.values() for index in view.indices) == list(range(1000))
        assert [len(parts[name]) / 1000 for name in SPLIT] == pytest.approx(list(SPLIT.values()), abs=0.08)

    def test_a_sample_stays_when_others_are_added(self, keys: dict[str, Any]) -> None:
        before, after = members(split(People(700), **keys)), members(split(People(1000), **keys))
        assert all(before[name] <= after[name] for name in SPLIT)

    def test_another_seed_is_another_split(self, keys: dict[str, Any]) -> None:
        assert members(split(**keys)) != members(split(**keys, seed=1))

    def test_folds_are_a_partition(self, keys: dict[str, Any]) -> None:
        folds = [members(fold(People(), Fold.model_validate({"k": 5, "index": it, **keys}))) for it in range(5)]
        assert sorted(index for it in folds for index in it["val"]) == list(range(1000))
        assert all(it["train"] == set(range(1000)) - it["val"] for it in folds)
        assert all(120 < len(it["val"]) < 280 for it in folds)


def test_groups_stay_together() -> None:
    users = [{row % 97 for row in rows} for rows in members(split(groupBy="user")).values()]
    assert sum(map(len, users)) == len(users[0] | users[1] | users[2]) == 97


def test_groups_stay_together_when_classes_are_spread_too() -> None:
    users = [{row % 97 for row in rows} for rows in members(split(groupBy="user", stratifyBy="label")).values()]
    assert sum(map(len, users)) == 97


def test_classes_are_spread_as_evenly_as_their_number_allows() -> None:
    for name, view in split(stratifyBy="label").items():
        counts = Counter(view.column("label"))
        assert counts["rare"] == pytest.approx(50 * SPLIT[name], abs=2)
        assert counts["common"] == pytest.approx(950 * SPLIT[name], abs=5)


def test_stratified_folds_have_equally_many_of_each_class() -> None:
    for index in range(5):
        counts = Counter(
            fold(People(), Fold.model_validate({"k": 5, "index": index, "stratifyBy": "label"}))["val"].column("label")
        )
        assert abs(counts["rare"] - 10) <= 2


@given(rows=st.integers(20, 300), k=st.integers(2, 5))
@settings(max_examples=20, deadline=None)
def test_folds_hold_each_sample_once_for_validation(rows: int, k: int) -> None:
    spec = [Fold.model_validate({"k": k, "index": it, "stratifyBy": "label"}) for it in range(k)]
    held_out = [index for it in spec for index in fold(People(rows), it)["val"].indices]
    assert sorted(held_out) == list(range(rows))


def test_a_split_never_changes_between_releases() -> None:
    """A golden split: an upgrade that changes it would move test samples into training."""
    assert split(People(40))["val"].indices.tolist() == GOLDEN
    assert split(People(40), stratifyBy="label")["val"].indices.tolist() == GOLDEN_STRATIFIED


GOLDEN = [4, 5, 10, 15, 20, 26, 32]
GOLDEN_STRATIFIED = [1, 15, 24, 37]


def test_pairs_are_divided_by_their_target() -> None:
    view = split(Pairs(), stratifyBy="target")["test"]
    assert Counter(view.column("target")) == {0: pytest.approx(33, abs=2), 1: pytest.approx(33, abs=2), 2: pytest.approx(33, abs=2)}  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({**SPLIT, "train": 0.7}, "is 0.9 together; make it 1"),
        ({"train": 0.0, "val": 1.0}, "greater than 0"),
        ({**SPLIT, "groupby": "user"}, "Extra inputs"),
    ],
)
def test_a_wrong_split_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Split.model_validate(spec)


def test_a_fold_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="index is 5, but there are 5 folds; it can be 0 to 4"):
        Fold.model_validate({"k": 5, "index": 5})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"split": SPLIT, "fold": {"k": 2, "index": 0}}, "both split and fold"),
        ({"split": SPLIT, "val": {"use": "a:b"}}, "val is given, and split.val takes it"),
        ({"split": SPLIT, "test": {"use": "a:b"}}, "test is given, and split.test takes it"),
        ({"fold": {"k": 2, "index": 0}, "val": {"use": "a:b"}}, "val is given, and fold takes it"),
    ],
)
def test_a_part_that_comes_from_two_places_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Data.model_validate({"train": {"use": "a:b"}, **keys})


def test_an_empty_part_is_told() -> None:
    with pytest.raises(DataError, match=r"split: val is 0\.1 of 2 samples, which leaves it empty"):
        split(People(2))
    with pytest.raises(DataError, match=r"fold 9 of 10 is empty with 3 samples; lower k"):
        fold(People(3), Fold.model_validate({"k": 10, "index": 9, "stratifyBy": "label"}))


def test_a_column_that_is_not_there_is_told() -> None:
    with pytest.raises(DataError, match=r"data\.split\.groupBy: Pairs has no column 'user'; give it a method column"):
        split(Pairs(), groupBy="user")


def test_the_parts_of_a_file_are_sources(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"t{n}", "label": "ab"[n % 2]}) + "\n" for n in range(100)))
    spec = {
        "train": {"source": "jsonl", "path": str(path), "columns": {"input": "text", "target": "label"}, "classes": ["a", "b"]},
        "split": {**SPLIT, "stratifyBy": "label"},
    }  # fmt: skip
    sources = make_sources(Data.model_validate(spec), seed=0, test=True)
    assert sources.val is not None
    assert sources.test is not None
    assert len(sources.train) + len(sources.val) + len(sources.test) == 100
    assert sources.train[0][0].startswith("t")
    assert fingerprint(sources.train)["fingerprint"]
    assert make_sources(Data.model_validate(spec), seed=0).test is None
