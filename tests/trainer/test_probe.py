"""trainer.debug: the same batches again, a look at gradients, a batch that is kept; one and two ranks, whole and sharded."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import ktrain_trainer as ktrain
from ktrain.errors import NonFiniteError, SpecError
from tests.ranks import run_ranks, values
from tests.trainer.probed import Forgetful, Points


def fit(data: Points, model: nn.Module | None = None, **changed: Any) -> ktrain.Fitted:
    spec: dict[str, Any] = {
        "duration": "6step", "batch": {"global": 8, "micro": 4}, "optim": {"name": "sgd", "lr": 0.01},
        "loss": "mse", "log": {"every": "2step"}, **changed,
    }  # fmt: skip
    return ktrain.fit(model or nn.Linear(4, 1), data, **spec)


def test_a_run_can_be_held_to_its_first_batches() -> None:
    held, free = Points(), Points()
    fit(free, duration="2step")
    fit(held, duration="6step", debug={"overfitBatches": 2})
    assert held.seen == 3 * free.seen


def test_a_run_that_is_held_to_its_first_batches_is_resumed_among_them(tmp_path: Path) -> None:
    whole, parts = Points(), Points()
    for data, durations in ((whole, ["5step"]), (parts, ["3step", "5step"])):
        for duration in durations:
            fit(data, duration=duration, debug={"overfitBatches": 2}, storage=str(tmp_path), name=f"{len(durations)}")
    assert parts.seen == whole.seen


def test_parameters_without_gradient_are_named_once_and_norms_recorded(caplog: pytest.LogCaptureFixture) -> None:
    model, data = Forgetful(), Points()
    plain = nn.Linear(4, 1)
    fitted = fit(data, model, duration="4step", optim={"name": "sgd", "lr": 1e-9}, debug={"checkGrads": True})
    looks = [record for record in fitted.records if record["kind"] == "grads"]
    plain.load_state_dict(model.used.state_dict())
    batch = data.seen[8:16]  # of step 2
    F.mse_loss(plain(data.inputs[batch]), data.targets[batch]).backward()  # type: ignore[no-untyped-call]
    expected = torch.cat([param.grad.flatten() for param in plain.parameters() if param.grad is not None]).norm().item()
    assert [look["step"] for look in looks] == [2, 4]
    assert looks[0]["missing"] == ("unused.weight", "unused.bias")
    assert looks[0]["norms"]["used"] == pytest.approx(expected, rel=1e-4)
    assert looks[0]["norms"]["unused"] == 0.0
    weights = torch.cat([param.flatten() for param in plain.parameters()]).norm().item()
    assert looks[0]["ratios"]["used"] == pytest.approx(expected / weights, rel=1e-4)
    told = [it.getMessage() for it in caplog.records if "no gradient" in it.getMessage()]
    assert told == [
        "2 parameters got no gradient (not used in forward(), or cut off by detach()): unused.weight, unused.bias"
    ]


def test_what_is_not_finite_is_named_before_the_run_stops(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(NonFiniteError):
        fit(Points(poison=3), duration="10step", debug={"checkGrads": True})
    assert "2 parameters have a gradient that is not finite: weight, bias" in caplog.text


def test_without_debug_nothing_is_looked_at() -> None:
    assert {record["kind"] for record in fit(Points()).records} == {"start", "step", "end"}


def test_profiling_and_dumps_are_checked_at_the_door() -> None:
    with pytest.raises(SpecError, match="greater than or equal to 1"):
        fit(Points(), debug={"dumpBatch": 0})


@pytest.fixture(scope="module")
def gang(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("gang")
    return folder, values(run_ranks("tests.trainer.probed:work", 2, str(folder)))


def test_a_nan_that_one_rank_sees_is_skipped_by_all(gang: tuple[Path, list[dict[str, Any]]]) -> None:
    for strategy in ("ddp", "fsdp2"):
        skipped, params = zip(*(rank[strategy]["skip"] for rank in gang[1]), strict=True)
        assert skipped == (1, 1)
        assert params[0] == params[1]
        assert all(math.isfinite(value) for value in params[0])


def test_a_nan_that_one_rank_sees_stops_all_at_the_same_step(gang: tuple[Path, list[dict[str, Any]]]) -> None:
    for strategy in ("ddp", "fsdp2"):
        told = {rank[strategy]["stop"] for rank in gang[1]}
        assert len(told) == 1
        assert "the gradient's norm is nan at step 2" in told.pop()


def test_gradients_are_the_same_however_the_model_is_spread(gang: tuple[Path, list[dict[str, Any]]]) -> None:
    whole, sharded = (gang[1][0][strategy]["looks"] for strategy in ("ddp", "fsdp2"))
    assert [look["step"] for look in whole] == [look["step"] for look in sharded] == [2, 4]
    for one, other in zip(whole, sharded, strict=True):
        assert one["missing"] == other["missing"] == ("unused.weight", "unused.bias")
        assert one["norms"] == pytest.approx(other["norms"], rel=1e-5)
        assert one["ratios"] == pytest.approx(other["ratios"], rel=1e-5)
        assert one["norms"]["used"] > 0


def test_the_batch_of_each_rank_is_kept(gang: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, _ = gang
    kept = []
    for rank in range(2):
        (path,) = (folder / "ddp").rglob(f"debug/batch-step-000000003-rank-{rank}.pt")
        found = torch.load(path, weights_only=True)
        assert found["step"] == 3
        kept += [found["batches"][0]["data"][0]]
    assert torch.equal(torch.cat(kept), Points().inputs[16:24])
