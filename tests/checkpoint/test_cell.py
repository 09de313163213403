"""Memory that a launcher holds: a copy is there when it was sealed, and never when it was cut short."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktrain_trainer.checkpoint.cell import Cell

TEXT = b"what lasts"


@pytest.fixture
def path() -> Iterator[str]:
    made = os.memfd_create("test")
    yield f"/proc/{os.getpid()}/fd/{made}"
    os.close(made)


def written(path: str, data: bytes = b"abcdef" * 5000, text: bytes = TEXT) -> Cell:
    cell = Cell(path)
    cell.map(len(data), text)[:] = data
    return cell


def held(path: str) -> tuple[bytes, bytes, bytes] | None:
    found = Cell(path).held()
    return (bytes(found.data), found.lasting, found.passing) if found else None


def test_a_sealed_copy_is_found_by_who_comes_later(path: str) -> None:
    written(path, b"12345" * 999).seal(b"step 3")
    assert held(path) == (b"12345" * 999, TEXT, b"step 3")


def test_an_empty_file_and_a_copy_without_a_seal_are_none(path: str) -> None:
    assert held(path) is None
    written(path)
    assert held(path) is None


def test_a_copy_that_begins_again_is_none_until_it_is_sealed(path: str) -> None:
    cell = written(path)
    cell.seal(b"step 1")
    cell.clear()
    assert held(path) is None
    cell.seal(b"a longer text: step 2")
    found = held(path)
    assert found is not None
    assert found[2] == b"a longer text: step 2"


def test_the_same_text_keeps_the_copy_and_another_one_does_not(path: str) -> None:
    written(path, b"x" * 100).seal(b"step 1")
    Cell(path).map(100, TEXT)
    assert held(path) == (b"x" * 100, TEXT, b"step 1")
    Cell(path).map(100, b"another plan")
    assert held(path) is None


def test_a_rank_without_a_share_holds_nothing_and_says_so(path: str) -> None:
    written(path, b"").seal(b"step 1")
    assert held(path) == (b"", TEXT, b"step 1")


@pytest.mark.parametrize("seed", range(50))
def test_no_bit_of_head_and_texts_may_be_wrong(path: str, seed: int) -> None:
    dice = random.Random(seed)
    written(path).seal(b"step 1")
    whole = held(path)
    with Path(path).open("r+b") as file:
        size = file.seek(0, 2)
        places = [*range(56), *range(size - len(b"step 1") - len(TEXT), size)]
        at = dice.choice(places)
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << dice.randrange(8)]))
    assert held(path) is None or held(path) == whole  # the last bytes of the first page are nobody's


def test_a_cut_file_is_none(path: str) -> None:
    written(path).seal(b"step 1")
    os.truncate(path, Path(path).stat().st_size - 3)
    assert held(path) is None
