"""Ways to spread a model, and to spare its memory, that must not change what is trained."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ktrain.errors import SpecError
from ktrain.spec.parallel import Parallel
from ktrain_trainer.parallel import spread
from ktrain_trainer.parallel.recompute import recompute
from ktrain_trainer.world import World
from tests.ranks import run_ranks, values
from tests.trainer.mlp import Block, Case, Ended, differences

TRAIN = "tests.trainer.mlp:train"
HSDP = {"strategy": "hsdp", "shards": 2, "blocks": ["Block"]}


def trained(size: int, parallel: dict[str, Any], folder: Path | None = None, **case: Any) -> Ended:
    made = Case(deep=True, extra={"parallel": parallel}, **case)
    ended: Ended = values(run_ranks(TRAIN, size, made, str(folder) if folder else None, kill_peers=True))[0]
    return ended


def assert_same(one: Ended, other: Ended) -> None:
    assert one.step == other.step
    assert max(differences(one.params, other.params)) == 0
    assert one.metrics == other.metrics


def test_two_copies_of_two_shards_train_what_one_rank_trains() -> None:
    alone = trained(1, {}, dtype="float64")
    assert max(differences(trained(4, HSDP, dtype="float64").params, alone.params)) < 1e-12


def test_a_preempted_run_of_two_copies_is_resumed_bit_exactly(tmp_path: Path) -> None:
    stopped = trained(4, HSDP, tmp_path, signal=signal.SIGTERM, at=33, by=3)
    assert stopped.is_stopping
    resumed = trained(4, HSDP, tmp_path)
    assert resumed.restored_step == stopped.step
    assert_same(resumed, trained(4, HSDP))


@pytest.mark.parametrize(
    ("size", "parallel"),
    [(2, HSDP), (2, {"strategy": "fsdp2"}), (3, {}), (1, {})],
    ids=["one copy", "fsdp2", "ddp", "single"],
)
def test_a_run_of_two_copies_goes_on_at_another_size_and_comes_back(
    tmp_path: Path, size: int, parallel: dict[str, Any]
) -> None:
    trained(4, HSDP, tmp_path, signal=signal.SIGTERM, at=20, dtype="float64")
    trained(size, parallel, tmp_path, signal=signal.SIGTERM, at=40, dtype="float64")
    ended = trained(4, HSDP, tmp_path, dtype="float64")
    assert ended.restored_step in {41, 42}
    assert max(differences(ended.params, trained(1, {}, dtype="float64").params)) < 1e-12


def test_a_number_of_ranks_that_makes_no_whole_copies_is_refused() -> None:
    (first, *_) = run_ranks(TRAIN, 3, Case(deep=True, extra={"parallel": HSDP}), None)
    assert "one copy is spread over 2 ranks, of which 3 is no multiple" in str(first.error)


def test_shards_are_refused_where_there_are_no_groups() -> None:
    with pytest.raises(ValueError, match="shards is 2, but strategy is fsdp2; only hsdp has groups of ranks"):
        Parallel(strategy="fsdp2", shards=2)


@pytest.mark.parametrize("how", ["full", "selective"])
@pytest.mark.parametrize(("size", "strategy"), [(1, "single"), (2, "ddp"), (2, "fsdp2")])
def test_what_is_computed_twice_is_the_same_to_the_bit(size: int, strategy: str, how: str) -> None:
    """Dropout included: backward draws the masks that forward drew."""
    parallel = {"strategy": strategy, "blocks": ["Block"]}
    assert_same(trained(size, {**parallel, "recompute": how}), trained(size, parallel))


def deep(how: str) -> nn.Sequential:
    model = nn.Sequential(*(Block() for _ in range(10)))
    for block in model if how != "none" else ():
        recompute(block, how)  # type: ignore[arg-type]
    return model


def kept(how: str) -> int:
    """Bytes that a forward pass keeps for backward."""
    sizes: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        deep(how)(torch.randn(256, 64))
    return sum(sizes)


def work(how: str) -> int:
    """Floating-point operations of a forward and a backward pass."""
    with FlopCounterMode(display=False) as counter:
        deep(how)(torch.randn(256, 64)).sum().backward()
    return int(counter.get_total_flops())


def test_less_is_kept_and_products_are_computed_twice_only_where_that_was_asked_for() -> None:
    assert kept("full") < kept("none") / 2
    assert work("selective") == work("none") < work("full")


def test_a_model_that_repeats_nothing_has_to_name_its_blocks() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(SpecError, match="the model repeats no block; name the classes"):
        spread(model, World.alone("cpu"), Parallel(recompute="full"))
