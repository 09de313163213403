"""Each example learns what its README says it learns, and is told of on the page of examples."""

import re
import sys
from pathlib import Path

import pytest

from tests.examples.train_here import EXAMPLES, train

sys.path[:0] = [str(EXAMPLES), *(str(EXAMPLES / name) for name in ("detection", "digits", "timm_images"))]

PROMISE = re.compile(r"`(val/\w+)` of at least ([\d.]+)")
PAGE = EXAMPLES.parent / "docs" / "examples.md"


def keeps(name: str, *changes: str) -> list[str]:
    """What the example did not reach of what its README promises."""
    promises = PROMISE.findall((EXAMPLES / name / "README.md").read_text(encoding="utf-8"))
    assert promises
    reached = train(name, changes)
    return [f"{metric} is {reached[metric]}" for metric, least in promises if reached[metric] < float(least)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "text_cnn", "bert", "detection", "timm_images"])
def test_an_example_reaches_what_its_readme_promises(name: str) -> None:
    assert keeps(name) == []


@pytest.mark.slow
def test_a_model_is_fine_tuned_from_the_folder_that_the_example_makes(tmp_path: Path) -> None:
    from hf_finetune.finetune import make_base

    make_base(tmp_path / "base")
    folder = f"trainer.model.args.pretrained_model_name_or_path={tmp_path / 'base'}"
    assert keeps("hf_finetune", folder) == []


def test_reviews_are_the_same_each_time_and_labels_are_even() -> None:
    from text_cnn.text_cnn import LENGTH, Reviews

    train_, test = Reviews("train"), Reviews("test")
    assert train_[7][0].tolist() == train_[7][0].tolist() != test[7][0].tolist()
    assert all(len(train_[index][0]) == LENGTH for index in range(200))
    assert 400 < sum(label for _, label in (test[index] for index in range(1000))) < 600


def test_the_digits_of_the_test_are_not_trained_on() -> None:
    from digits import TEST_SIZE, Digits

    assert (len(Digits("train")), len(Digits("test"))) == (1797 - TEST_SIZE, TEST_SIZE)


def test_textures_have_even_labels_and_differ_between_splits() -> None:
    from images import NAMES, Textures

    test = Textures("test")
    assert [test[index][1] for index in range(8)] == [*range(len(NAMES))] * 2
    assert not Textures("train")[0][0].equal(test[0][0])


def test_a_box_is_around_what_was_drawn() -> None:
    """The picture outside of all boxes is noise below 0.2, and inside of each there is more."""
    from shapes import Shapes

    for image, target in (Shapes("test")[index] for index in range(20)):
        outside = image.clone()
        for left, top, right, bottom in target["boxes"].int().tolist():
            assert image[:, top:bottom, left:right].amax() > 0.3
            outside[:, top:bottom, left:right] = 0
        assert outside.amax() <= 0.2


def test_every_example_is_on_the_page() -> None:
    folders = {path.parent.name for path in EXAMPLES.glob("*/README.md")} | {"script"}
    assert folders == set(re.findall(r"\.\./examples/(\w+)", PAGE.read_text(encoding="utf-8")))
