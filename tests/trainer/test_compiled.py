"""torch.compile: the same run after a restart, bit for bit, and nothing compiled twice."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from torch._dynamo.utils import counters

from ktrain.errors import SpecError
from ktrain.spec import Trainer
from ktrain.spec.compile import Compile
from ktrain.spec.parallel import Parallel
from ktrain.storage import open_storage
from ktrain_trainer.compiled import Compiled, machine
from ktrain_trainer.parallel import spread
from ktrain_trainer.world import World
from tests.ranks import Rank, run_ranks, values
from tests.trainer.mlp import Case, Ended, differences, train

TRAIN = "tests.trainer.test_compiled:compiled"


def compiled(rank: Rank, case: Case, folder: str) -> tuple[Ended, int, int]:
    """A run with its scratch in the same folder; how many graphs were compiled, and how many were there."""
    ended = train(rank, case, folder)
    made = counters["inductor"]
    return ended, made["fxgraph_cache_miss"], made["fxgraph_cache_hit"]


def trained(size: int, folder: Path, strategy: str, **case: Any) -> list[tuple[Ended, int, int]]:
    # Evaluated before the signal too: its graph is another one.
    extra = {"compile": {}, "parallel": {"strategy": strategy, "blocks": ["Block"]}, "eval": {"every": "4step"}}
    made = Case(steps=12, deep=True, extra=extra, **case)
    found: list[tuple[Ended, int, int]] = values(
        run_ranks(TRAIN, size, made, str(folder), kill_peers=True, timeout=280)
    )
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("size", "strategy"), [(1, "single"), (2, "fsdp2")])
def test_a_restarted_run_is_the_same_to_the_bit_and_compiles_nothing_again(
    tmp_path: Path, size: int, strategy: str
) -> None:
    stopped = trained(size, tmp_path / "run", strategy, signal=signal.SIGTERM, at=6, by=size - 1)
    assert sum(misses for _, misses, _ in stopped) > 0
    shutil.rmtree(tmp_path / "run" / "compiled")  # another pod has its own scratch
    resumed = trained(size, tmp_path / "run", strategy)
    assert [misses for _, misses, _ in resumed] == [0] * size
    assert min(hits for _, _, hits in resumed) > 0
    assert resumed[0][0].restored_step == stopped[0][0].step
    shutil.copytree(tmp_path / "run" / "compiled", tmp_path / "whole" / "compiled")
    whole = trained(size, tmp_path / "whole", strategy)
    assert whole[0][0].restored_step == 0
    assert max(differences(resumed[0][0].params, whole[0][0].params)) == 0


def test_compiling_changes_no_name() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    names = [name for name, _ in model.named_parameters()]
    parallel = spread(model, World.alone("cpu"), Parallel(), Compile(scope="model"))
    assert [name for name, _ in parallel.model.named_parameters()] == names


def test_a_model_without_blocks_is_not_compiled_by_blocks() -> None:
    with pytest.raises(SpecError, match=r"compile\.scope: the model repeats no block"):
        spread(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), World.alone("cpu"), Parallel(), Compile())


def test_a_sharded_model_is_compiled_by_blocks_only() -> None:
    here = {"use": "a:b"}
    document = {
        "duration": "1step", "model": here, "data": {"train": here}, "batch": {"global": 2, "micro": 1}, "optim": {"lr": 1},
        "parallel": {"strategy": "fsdp2"}, "compile": {"scope": "model"},
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"compile\.scope is model, but parallel\.strategy is fsdp2"):
        Trainer.model_validate(document)


@pytest.fixture
def inductor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's word is put back."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")


@pytest.mark.usefixtures("inductor")
def test_what_one_machine_compiled_is_there_on_the_next_one(tmp_path: Path) -> None:
    storage = open_storage(f"file://{tmp_path}/run")
    first = Compiled(storage, tmp_path / "one", keeps=True)
    first.open()
    made = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    (made / "ab").mkdir(parents=True)
    (made / "ab" / "kernel.so").write_bytes(b"machine code")
    first.close()
    Compiled(storage, tmp_path / "two", keeps=False).open()
    assert (tmp_path / "two" / "compiled" / machine() / "ab" / "kernel.so").read_bytes() == b"machine code"


@pytest.mark.usefixtures("inductor")
def test_an_archive_that_is_none_costs_a_compilation_and_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = open_storage(f"file://{tmp_path}/run")
    storage.put(f"state/compiled/{machine()}.tar", b"torn")
    Compiled(storage, tmp_path, keeps=False).open()
    assert "is no archive any more, so the model is compiled again" in caplog.text
    assert [it.name for it in (tmp_path / "compiled").iterdir()] == []


@pytest.mark.usefixtures("inductor")
def test_nothing_new_is_not_written_again(tmp_path: Path) -> None:
    storage = open_storage(f"file://{tmp_path}/run")
    Compiled(storage, tmp_path, keeps=True).close()
    assert list(storage.list()) == []
