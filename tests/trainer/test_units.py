"""The trainer's parts, one by one."""

import errno
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from ktrain.errors import BuildError, CheckpointError, DataError, NonFiniteError, SpecError, StorageError
from ktrain.names import Exit
from ktrain.spec.optim import Optim
from ktrain.spec.task import TaskSpec
from ktrain.units import Span
from ktrain_trainer import failures, groups, optim, rng, room, task
from ktrain_trainer.data import Fetch, Loader, check_source, to_device
from ktrain_trainer.length import Length, passed
from ktrain_trainer.plan import Cut, Stream
from ktrain_trainer.progress import Progress


class TestRandomness:
    def test_a_key_never_changes_between_releases(self) -> None:
        assert rng.key(7, rng.FORWARD, 100, 3) == 12942412745907532829

    def test_every_part_of_a_key_counts(self) -> None:
        keys = {rng.key(*parts) for parts in ((7, 1, 2), (7, 2, 1), (8, 1, 2), (7, 1, 3), (7, 1), (7, 1, 2, 0))}
        assert len(keys) == 6

    def test_seeding_covers_all_generators(self) -> None:
        import random

        import numpy as np

        def draw() -> tuple[float, float, float]:
            rng.seed_all(12345)
            return torch.rand(1).item(), random.random(), float(np.random.rand())

        assert draw() == draw()


class TestGroups:
    NET = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Embedding(3, 4))

    def test_biases_and_norms_go_without_decay(self) -> None:
        optimizer = optim.make(Optim.model_validate({"lr": 0.1, "args": {"weight_decay": 0.3}}), self.NET)
        decay, free = optimizer.param_groups
        assert [tuple(param.shape) for param in decay["params"]] == [(4, 4), (3, 4)]
        assert (decay["weight_decay"], free["weight_decay"]) == (0.3, 0.0)

    def test_patterns_name_what_goes_without(self) -> None:
        assert [groups.is_free(name, 2, ("^wte",)) for name in ("wte.weight", "head.wte")] == [True, False]

    def test_none_decays_everything(self) -> None:
        assert not groups.is_free("bias", 1, "none")

    def test_a_wrong_argument_is_named(self) -> None:
        with pytest.raises(BuildError, match=r"trainer\.optim\.args: .*takes no 'beta'"):
            optim.make(Optim.model_validate({"lr": 0.1, "args": {"beta": 1}}), self.NET)

    def test_a_wrong_value_is_told_in_torchs_words(self) -> None:
        with pytest.raises(BuildError, match="Invalid beta parameter"):
            optim.make(Optim.model_validate({"lr": 0.1, "args": {"betas": [2.0, 0.9]}}), self.NET)

    @pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
    @pytest.mark.parametrize("kernel", ["fused", "foreach"])
    def test_the_optimizer_is_torchs(self, name: str, kernel: str) -> None:
        spec = Optim.model_validate({"name": name, "lr": 0.1, "kernel": kernel, "noDecay": "none"})
        ours, theirs = nn.Linear(3, 1), nn.Linear(3, 1)
        theirs.load_state_dict(ours.state_dict())
        pair = (optim.make(spec, ours), optim.OPTIMIZERS[name].load()(theirs.parameters(), lr=0.1))  # type: ignore[call-arg]
        for _ in range(3):
            for net, optimizer in zip((ours, theirs), pair, strict=True):
                optimizer.zero_grad()
                net(torch.ones(2, 3)).sum().backward()
                optimizer.step()
        assert torch.allclose(ours.weight, theirs.weight, atol=1e-6)


class TestTasks:
    def test_a_loss_is_a_sum_with_its_weight(self) -> None:
        made = task.make(TaskSpec.model_validate({}))
        out = made(nn.Identity(), (torch.zeros(4, 5), torch.tensor([0, 1, 2, 3])))
        assert float(out.weight) == 4
        assert out.loss_sum.item() == pytest.approx(4 * torch.log(torch.tensor(5.0)).item())

    def test_ignored_targets_do_not_count(self) -> None:
        made = task.make(TaskSpec.model_validate({"loss": {"args": {"ignore_index": 0}}}))
        out = made(nn.Identity(), (torch.zeros(2, 3, 5), torch.tensor([[0, 1, 2], [0, 0, 3]])))
        assert float(out.weight) == 3

    def test_evaluation_adds_accuracy(self) -> None:
        made = task.make(TaskSpec.model_validate({}))
        with torch.no_grad():
            out = made(nn.Identity(), (torch.eye(4), torch.tensor([0, 1, 2, 0])))
        hits, weight = out.logs["accuracy"]
        assert (float(hits), float(weight)) == (3, 4)

    def test_causal_lm_predicts_the_next_token(self) -> None:
        tokens = torch.tensor([[1, 2, 3, 4]])
        logits = F.one_hot(tokens.roll(-1, 1), 6).float() * 50
        out = task.CausalLM()(lambda _tokens: logits, {"input_ids": tokens, "labels": torch.tensor([[1, 2, -100, 4]])})  # type: ignore[arg-type]
        assert float(out.weight) == 2
        assert out.loss_sum.item() == pytest.approx(0.0, abs=1e-6)

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ({"loss": {"use": "mse", "args": {"reduction": "mean"}}}, "reduction is always 'sum'"),
            ({"loss": {"use": "torch.nn.functional:mse_losss"}}, "did you mean 'mse_loss'"),
        ],
        ids=["reduction", "path"],
    )
    def test_a_wrong_loss_is_told(self, spec: dict[str, Any], message: str) -> None:
        with pytest.raises(BuildError, match=message):
            task.make(TaskSpec.model_validate(spec))

    def test_a_loss_that_there_is_not_is_told_at_the_door(self) -> None:
        with pytest.raises(ValueError, match="there is no loss 'crossentropy'; did you mean cross_entropy"):
            TaskSpec.model_validate({"loss": {"use": "crossentropy"}})

    def test_a_batch_that_is_no_pair_is_told(self) -> None:
        with pytest.raises(BuildError, match="wants batches"):
            task.make(TaskSpec.model_validate({}))(nn.Identity(), {"x": 1})


class Noisy:
    """Samples with a random part, as augmentation draws it."""

    def __len__(self) -> int:
        return 50

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((2,), float(index)) + torch.rand(2)


class TestLoading:
    def batches(self, workers: int, rank: int = 0, size: int = 1) -> list[torch.Tensor]:
        loader = Loader(Fetch(Noisy(), torch.stack, 3), workers=workers)
        cut = Cut(4, rank, size)
        stream = Stream(50, seed=3, shuffle=True)
        micros = (micro for at in range(0, 96, 16) for micro in cut.each(stream, at, at + 16))
        return [batch.data for batch in loader.batches(micros)]

    def test_workers_change_nothing(self) -> None:
        for one, other in zip(self.batches(0), self.batches(2), strict=True):
            assert torch.equal(one, other)

    def test_ranks_change_nothing(self) -> None:
        alone = self.batches(0)
        shared = [self.batches(0, rank, 2) for rank in range(2)]
        for at in range(0, 24, 4):
            theirs = [shared[0][at // 2], shared[1][at // 2], shared[0][at // 2 + 1], shared[1][at // 2 + 1]]
            assert all(torch.equal(one, other) for one, other in zip(alone[at : at + 4], theirs, strict=True))

    def test_iterating_draws_nothing_from_the_users_generator(self) -> None:
        before = torch.random.get_rng_state()
        self.batches(2)
        assert torch.equal(before, torch.random.get_rng_state())

    @pytest.mark.parametrize(("source", "message"), [([], "empty"), (iter([1]), "no __len__"), ({}, "empty")])
    def test_what_is_no_dataset_is_told(self, source: Any, message: str) -> None:
        with pytest.raises(DataError, match=message):
            check_source(source, "spec.trainer.data.train")

    def test_nested_batches_are_moved_whole(self) -> None:
        batch = {"x": torch.ones(1), "y": [torch.ones(1), "text"]}
        moved = to_device(batch, torch.device("meta"))
        assert moved["x"].is_meta
        assert moved["y"][0].is_meta
        assert moved["y"][1] == "text"


class TestLength:
    def test_epochs_end_inside_a_step(self) -> None:
        length = Length.of(Span.parse("3ep"), num_samples=100)
        assert (length.unit, length.total, length.steps(32)) == ("sample", 300, 10)
        assert length.end(288, 32) == 300
        assert length.end(300, 32) == 300

    @pytest.mark.parametrize(
        ("every", "expected"),
        [("2step", [2, 4, 6]), ("1ep", [4]), ("64sample", [2, 4, 6]), ("96tok", [1, 2, 3, 4, 5, 6])],
    )
    def test_what_is_due_is_due_once(self, every: str, expected: list[int]) -> None:
        due = []
        for step in range(1, 7):
            now = Progress(step=step, samples=32 * step, tokens=100.0 * step)
            before = (step - 1, 32 * (step - 1), 100.0 * (step - 1))
            if passed(Span.parse(every), before, now, num_samples=100):
                due.append(step)
        assert due == expected


class TestProgress:
    def test_it_comes_back_bit_for_bit(self) -> None:
        import json

        progress = Progress(
            step=3, samples=96, tokens=0.1 + 0.2, seconds=1 / 3, top=[1e-300], metrics={"val/loss": 2 / 3}
        )
        assert Progress.read(json.loads(json.dumps(progress.document()))) == progress

    def test_a_manifest_without_progress_is_told(self) -> None:
        with pytest.raises(CheckpointError, match="not written by ktrain's trainer"):
            Progress.read(None)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SpecError("spec"), Exit.SPEC),
        (BuildError("build"), Exit.BUILD),
        (NonFiniteError("nonfinite"), Exit.NONFINITE),
        (ValueError("shape mismatch"), Exit.USER),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), Exit.USER),
        (RuntimeError("[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1234"), Exit.PEER),
        (RuntimeError("NCCL communicator was aborted on rank 3"), Exit.PEER),
        (RuntimeError("CUDA error: unspecified launch failure"), Exit.PEER),
        (RuntimeError("CUDA error: device-side assert triggered"), Exit.USER),
        (ConnectionResetError(104, "reset"), Exit.PEER),
        (OSError(5, "Input/output error"), Exit.PEER),
        (OSError(116, "Stale file handle"), Exit.PEER),
        (OSError(110, "Connection timed out"), Exit.PEER),
        (FileNotFoundError(2, "No such file", "data.bin"), Exit.DATA),
        (PermissionError(13, "Permission denied", "data.bin"), Exit.USER),
        (IsADirectoryError(21, "Is a directory", "data"), Exit.USER),
        (NotADirectoryError(20, "Not a directory", "data.bin/0"), Exit.USER),
        (type("UnidentifiedImageError", (OSError,), {})("cannot identify image file"), Exit.USER),
        (torch.OutOfMemoryError("CUDA out of memory"), Exit.USER),
        (KeyboardInterrupt(), Exit.PREEMPTED),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, BaseException) else str(int(value)),
)
def test_the_kind_of_failure_decides_the_exit_code(error: BaseException, code: Exit) -> None:
    assert failures.classify(error) is code


def refused(number: int) -> CheckpointError:
    """As storage tells an error of the file system."""
    error = CheckpointError("cannot create step-20/0000.bin")
    error.__cause__ = StorageError("cannot create")
    error.__cause__.__cause__ = OSError(number, "as it was told")
    return error


@pytest.mark.parametrize(
    ("error", "free", "expected"),
    [
        pytest.param(refused(errno.ENOSPC), 10**9, True, id="no space, whatever is left for others"),
        pytest.param(refused(errno.EDQUOT), None, True, id="the quota is used up"),
        pytest.param(refused(errno.EIO), 10**9, False, id="a disk that fails"),
        pytest.param(CheckpointError("rank 1: cannot create"), 99, True, id="heard of from another rank"),
        pytest.param(CheckpointError("rank 1: cannot create"), 101, False, id="another rank's, and there is room"),
        pytest.param(CheckpointError("cannot create"), None, False, id="nobody can say"),
    ],
)
def test_a_save_that_fails_for_want_of_room_is_known(error: CheckpointError, free: int | None, expected: bool) -> None:
    assert room.is_full(error, needed=100, free=free) is expected


def test_room_is_asked_of_folders_only(tmp_path: Path) -> None:
    assert (room.free_bytes(f"file://{tmp_path}") or 0) > 0
    assert room.free_bytes(f"file://{tmp_path}/gone") is None
    assert room.free_bytes("s3://bucket/runs") is None


def test_the_error_file_keeps_the_users_traceback(tmp_path: Any) -> None:
    try:
        [].pop()
    except IndexError as error:
        document: Mapping[str, Any] = failures.report(error, Exit.USER, tmp_path / "error.json", step=7)
    assert document["kind"] == "IndexError"
    assert document["message"].startswith("IndexError: pop from empty list (test_units.py:")
    assert "[].pop()" in document["traceback"]
    assert (tmp_path / "error.json").exists()


def test_a_traceback_begins_with_the_users_code() -> None:
    class Broken(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
            return super().forward(input.double())

    spec = TaskSpec.model_validate({"loss": {"use": "mse"}})
    with pytest.raises(RuntimeError) as caught:
        task.make(spec)(Broken(2, 1), (torch.ones(3, 2), torch.ones(3, 1)))
    told = failures.report(caught.value, Exit.USER, None, step=7)
    frames = [line for line in told["traceback"].splitlines() if line.startswith("  File ")]
    assert "test_units.py" in frames[0]
    assert "linear.py" in frames[-1]
    assert told["message"].endswith(")")
    assert "(test_units.py:" in told["message"]


def test_a_lost_peer_is_a_sentence_unless_user_code_called_it() -> None:
    lost = RuntimeError("[gloo/pair.cc:545] Read error: Connection reset by peer")
    told = failures.report(lost, Exit.PEER, None, step=7)
    assert told["message"].startswith("lost another rank: [gloo/")
    assert told["traceback"] == ""
    with pytest.raises(RuntimeError) as caught:
        raise lost
    assert "test_units.py" in failures.report(caught.value, Exit.PEER, None, step=7)["traceback"]


def test_a_rank_that_shards_nothing_imports_nothing_for_it() -> None:
    """DTensor brings sympy, and doubles the time that a rank takes to start."""
    code = "import sys, ktrain_trainer.worker; print([it for it in ('sympy', 'torch.distributed.fsdp') if it in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
