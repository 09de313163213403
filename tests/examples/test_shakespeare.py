"""examples/shakespeare: the model, its data, and the same curve at any number of ranks."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.examples.shakespeare_work import EXAMPLE
from tests.ranks import run_ranks, values

sys.path.insert(0, str(EXAMPLE))


def test_validation_predicts_each_character_of_the_last_tenth_once() -> None:
    import shakespeare

    val = shakespeare.CharBlocks("val")
    inputs, targets = val.__getitems__(list(range(len(val))))
    assert torch.equal(targets.flatten(), val.tokens[1 : targets.numel() + 1])
    assert len(val.tokens) - 1 - targets.numel() < val.block
    assert torch.equal(inputs[0][1:], targets[0][:-1])


def test_training_and_validation_do_not_overlap() -> None:
    import shakespeare

    whole = len(shakespeare.encode(shakespeare.TEXT.read_text(encoding="utf-8")))
    assert len(shakespeare.CharBlocks("train").tokens) + len(shakespeare.CharBlocks("val").tokens) == whole


def test_the_model_sees_nothing_of_the_future() -> None:
    import shakespeare

    torch.manual_seed(0)
    model = shakespeare.GPT(layers=2, heads=2, width=16, block=8).eval()
    tokens = torch.randint(0, 65, (1, 8))
    changed = tokens.clone()
    changed[0, 5] = (changed[0, 5] + 1) % 65
    same = torch.isclose(model(tokens), model(changed)).all(-1)[0]
    assert same[:5].all()
    assert not same[5:].any()


def test_sample_without_a_run_is_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE / "sample.py"), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_curve_is_the_same_at_one_to_four_ranks() -> None:
    work = "tests.examples.shakespeare_work:losses"
    alone = values(run_ranks(work, 1, 40))[0]
    assert alone[-1] < alone[0] - 0.5
    for size in (2, 3, 4):
        curve = values(run_ranks(work, size, 40))[0]
        assert max(abs(one - other) for one, other in zip(alone, curve, strict=True)) <= 1e-3
