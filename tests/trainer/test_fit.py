"""The loop's promises, through `fit(...)` in one process."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import ktrain_trainer as ktrain
from ktrain.errors import BuildError, DataError, NonFiniteError, SpecError
from ktrain.history import current_run, read_head
from ktrain.storage import open_storage, scoped
from ktrain_trainer.notebook import seed_model

CLASSES = 5


class Blobs:
    """Points around class centres; a fixed draw."""

    def __init__(self, size: int = 96, poison: int | None = None) -> None:
        generator = torch.Generator().manual_seed(0)
        self.targets = torch.randint(0, CLASSES, (size,), generator=generator)
        self.inputs = torch.eye(CLASSES)[self.targets] + 0.3 * torch.randn(size, CLASSES, generator=generator)
        if poison is not None:
            self.inputs[poison] = math.nan

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inputs[index], self.targets[index]


def net() -> nn.Module:
    seed_model(0)
    return nn.Sequential(nn.Linear(CLASSES, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, CLASSES))


def fit(model: nn.Module | None = None, train: Any = None, **changed: Any) -> ktrain.Fitted:
    spec: dict[str, Any] = {
        "duration": "5ep",
        "batch": {"global": 16, "micro": 8},
        "optim": {"name": "adamw", "lr": 1e-2},
        "val": Blobs(40),
        "log": {"every": "1step"},
        **changed,
    }
    return ktrain.fit(model or net(), Blobs() if train is None else train, **spec)


def test_it_learns() -> None:
    fitted = fit(duration="20ep")
    assert fitted.metrics["val/accuracy"] > 0.9
    assert fitted.curve()[-1][1] < 0.5 * fitted.curve()[0][1]


def test_it_is_the_plain_loop() -> None:
    """Twenty steps of a plain torch loop over the same batches give the same parameters."""
    ours = nn.Linear(CLASSES, CLASSES)
    plain = nn.Linear(CLASSES, CLASSES)
    plain.load_state_dict(ours.state_dict())
    data = Blobs(16)
    ktrain.fit(
        ours, data, duration="20step", batch={"global": 16, "micro": 4},
        optim={"lr": 0.05, "args": {"weight_decay": 0.0}, "clip": {"norm": 0.5}},
    )  # fmt: skip
    optimizer = torch.optim.AdamW(plain.parameters(), lr=0.05, weight_decay=0.0)
    for _ in range(20):
        optimizer.zero_grad()
        F.cross_entropy(plain(data.inputs), data.targets).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        optimizer.step()
    assert torch.allclose(ours.weight, plain.weight, atol=1e-5)


def test_uneven_weights_give_the_mean_over_all_targets() -> None:
    """Micro-batches with 1 and 7 targets that count: each target weighs the same, not each micro-batch."""
    inputs = torch.randn(8, CLASSES, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([-1, -1, -1, 0, 1, 2, 3, 4])
    ours, plain = nn.Linear(CLASSES, CLASSES), nn.Linear(CLASSES, CLASSES)
    plain.load_state_dict(ours.state_dict())
    ktrain.fit(
        ours, list(zip(inputs, targets, strict=True)), duration="1step", batch={"global": 8, "micro": 4},
        optim={"name": "sgd", "lr": 1.0},
        loss=ktrain.Supervised(F.cross_entropy, {"ignore_index": -1}, over_classes=True),
    )  # fmt: skip
    F.cross_entropy(plain(inputs), targets, ignore_index=-1).backward()  # type: ignore[no-untyped-call]
    assert plain.weight.grad is not None
    assert torch.allclose(ours.weight, plain.weight - plain.weight.grad, atol=1e-6)


def test_the_last_evaluation_is_of_the_final_weights() -> None:
    fitted = fit(duration="7step", eval={"every": "3step"})
    evals = [record["step"] for record in fitted.records if record["kind"] == "eval"]
    assert evals == [3, 6, 7]


def test_a_run_that_evaluates_no_sample_evaluates_never() -> None:
    fitted = fit(duration="7step", eval={"every": "3step", "maxSamples": 0})
    assert "eval" not in {record["kind"] for record in fitted.records}
    assert fitted.metrics == {}


def test_nothing_is_asked_of_evaluations_that_there_are_not() -> None:
    with pytest.raises(SpecError, match=r"earlyStop\.monitor is val/loss, but eval\.maxSamples is 0"):
        fit(eval={"every": "2step", "maxSamples": 0}, early_stop={"monitor": "val/loss"})


def test_evaluation_counts_each_sample_once_whatever_the_batch() -> None:
    values = [fit(duration="3step", eval={"micro": micro}).metrics for micro in (1, 7, 40)]
    assert values[0]["val/loss"] == pytest.approx(values[1]["val/loss"], rel=1e-6)
    assert values[0]["val/accuracy"] == values[1]["val/accuracy"] == values[2]["val/accuracy"]


def test_early_stop_ends_the_run_and_says_so() -> None:
    fitted = fit(
        duration="100ep", optim={"name": "sgd", "lr": 1e-12}, eval={"every": "2step"},
        early_stop={"monitor": "val/loss", "patience": 3, "minDelta": 0.01},
    )  # fmt: skip
    assert fitted.progress.finished == "early stop"
    assert fitted.progress.step == 8


def test_an_unknown_monitor_fails_before_the_first_step() -> None:
    with pytest.raises(SpecError, match=r"earlyStop\.monitor is val/f1, but evaluation gives val/accuracy, val/loss"):
        fit(early_stop={"monitor": "val/f1"})


def test_a_nan_stops_the_run() -> None:
    with pytest.raises(NonFiniteError, match="the gradient's norm is nan at step"):
        fit(train=Blobs(poison=3))


def test_a_nan_can_be_skipped() -> None:
    fitted = fit(train=Blobs(poison=3), nonfinite="skip")
    assert fitted.progress.skipped == 5  # once an epoch
    assert fitted.metrics["val/accuracy"] > 0.5


def test_too_many_nans_in_a_row_stop_the_run_all_the_same() -> None:
    broken = Blobs()
    broken.inputs[:] = math.nan
    with pytest.raises(NonFiniteError):
        fit(train=broken, nonfinite="skip")


def test_a_second_call_resumes_and_a_finished_run_stays_finished(tmp_path: Path) -> None:
    whole, parts = net(), net()
    fit(whole, duration="12step")
    fit(parts, duration="12step", storage=str(tmp_path))
    again = net()
    fitted = fit(again, duration="12step", storage=str(tmp_path))
    assert [record["restored_step"] for record in fitted.records if record["kind"] == "start"] == [12]
    for one, two, three in zip(whole.parameters(), parts.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)


def test_fresh_begins_a_new_run_beside_the_old(tmp_path: Path) -> None:
    fit(duration="4step", storage=str(tmp_path))
    first = current_run(scoped(open_storage(str(tmp_path)), "default/fit"))
    fitted = fit(duration="4step", storage=str(tmp_path), fresh=True)
    assert current_run(scoped(open_storage(str(tmp_path)), "default/fit")) != first
    assert fitted.records[0]["restored_step"] == 0


def test_best_and_last_are_kept_apart(tmp_path: Path) -> None:
    """A metric that gets worse: the best commit is the first, the last one stays too."""
    fit(
        duration="12step", optim={"name": "sgd", "lr": 30.0}, eval={"every": "3step"}, storage=str(tmp_path),
        checkpoint={"every": "1step", "keepLast": 1, "best": {"monitor": "val/loss", "keep": 1}},
    )  # fmt: skip
    job = scoped(open_storage(str(tmp_path)), "default/fit")
    head = read_head(scoped(job, current_run(job) or ""))
    assert head is not None
    assert head.newest is not None
    assert head.newest.step == 12
    scored = [commit for commit in head.commits if commit.metric is not None]
    assert min(commit.metric or 0 for commit in scored) == scored[0].metric
    assert len(head.commits) <= 3


def test_a_grown_dataset_is_refused(tmp_path: Path) -> None:
    fit(duration="4step", storage=str(tmp_path))
    with pytest.raises(DataError, match="has 97 samples, but had 96 when this run began"):
        fit(train=Blobs(97), duration="8step", storage=str(tmp_path))


def test_saving_does_not_change_the_run(tmp_path: Path) -> None:
    saved, unsaved = net(), net()
    fit(saved, storage=str(tmp_path), checkpoint={"every": "1step"})
    fit(unsaved)
    assert all(torch.equal(one, other) for one, other in zip(saved.parameters(), unsaved.parameters(), strict=True))


def test_bf16_trains_and_keeps_its_parameters_in_fp32() -> None:
    model = net()
    assert fit(model, precision="bf16", duration="20ep").metrics["val/accuracy"] > 0.9
    assert {param.dtype for param in model.parameters()} == {torch.float32}


def test_the_scale_of_fp16_is_part_of_the_curve() -> None:
    assert fit(net(), precision="fp16", duration="1ep", log={"every": "1step"}).curve("loss_scale")[0] == (1, 65536.0)
    assert fit(net(), duration="1ep").curve("loss_scale") == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"duration": "5 epochs long"}, "is no length of training"),
        ({"batch": {"global": 10, "micro": 4}}, "make global 8 or 12"),
        ({"optim": {"lr": -1}}, "greater than 0"),
        ({"scheduel": {"name": "cosine"}}, "scheduel"),
    ],
    ids=["duration", "batch", "lr", "unknown"],
)
def test_a_wrong_argument_is_a_sentence(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        fit(**changed)


def test_a_model_without_parameters_is_told() -> None:
    with pytest.raises(SpecError, match="no parameter to train"):
        fit(nn.Flatten())


def test_a_batch_that_does_not_fit_the_task_is_told() -> None:
    with pytest.raises(BuildError, match="wants batches"):
        fit(train=[torch.ones(2)] * 16)
