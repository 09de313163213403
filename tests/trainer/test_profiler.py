"""trainer.profile: which steps are recorded, what is kept of them, and that nothing of it touches the numbers."""

import contextlib
import gzip
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.profiler import record_function
from torch.utils.data import TensorDataset

import ktrain_trainer as ktrain

GIVEN: dict[str, Any] = {
    "batch": {"global": 4, "micro": 2}, "optim": {"name": "adamw", "lr": 0.01}, "loss": "mse", "log": {"every": "2step"},
    "name": "profiled",
}  # fmt: skip


class Signalling(nn.Linear):
    """Asks its own process for a profile in its third forward pass, as a launcher does from outside."""

    def __init__(self) -> None:
        super().__init__(3, 1)
        self.passes = 0

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  -- the name is torch's
        self.passes += 1
        if self.passes == 3:
            os.kill(os.getpid(), signal.SIGURG)
        return super().forward(input)


def fit(folder: Path, model: nn.Module | None = None, duration: str = "10step", **changed: Any) -> ktrain.Fitted:
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(64, 3), torch.randn(64, 1))
    torch.manual_seed(1)
    return ktrain.fit(model or nn.Linear(3, 1), data, duration=duration, storage=str(folder), **{**GIVEN, **changed})


def profiles(fitted: ktrain.Fitted) -> list[dict[str, Any]]:
    return [dict(record) for record in fitted.records if record["kind"] == "profile"]


def files(folder: Path) -> dict[str, bytes]:
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in folder.rglob("profiles/*/*")}


def spans(trace: bytes) -> list[str]:
    events = json.loads(gzip.decompress(trace))["traceEvents"]
    return [event["name"] for event in events if event.get("cat") == "user_annotation"]


def test_the_steps_after_the_warm_up_are_recorded_with_their_parts(tmp_path: Path) -> None:
    fitted = fit(tmp_path, profile={"at": "3step", "steps": 2})
    (told,) = profiles(fitted)
    found = files(tmp_path)
    assert (told["step"], told["steps"]) == (6, 2)  # 4 warms up
    assert set(told["spans"]) == {"data", "forward", "backward", "reduce", "update"}
    assert all(seconds > 0 for seconds in told["spans"].values())
    assert set(found) == {"step-000000006/rank-00000.txt", "step-000000006/rank-00000.trace.json.gz"}
    named = spans(found["step-000000006/rank-00000.trace.json.gz"])
    assert named.count("ktrain: data") == named.count("ktrain: update") == 2
    assert named.count("ktrain: forward") == 4  # two micro-batches a step
    text = found["step-000000006/rank-00000.txt"].decode()
    assert "Operators by their own time" in text
    assert "aten::addmm" in text
    assert "Operators by the memory" in text


def test_stacks_and_shapes_are_kept_when_they_are_wanted(tmp_path: Path) -> None:
    fit(tmp_path, profile={"at": "3step", "steps": 1, "stack": True, "shapes": True, "memory": False})
    found = files(tmp_path)
    assert b"loop.py" in found["step-000000005/rank-00000.stacks.txt"]
    text = found["step-000000005/rank-00000.txt"].decode()
    assert "[[1], [2, 3]" in text  # bias and input of addmm
    assert "by the memory" not in text


class Nested(nn.Linear):
    """Its forward pass is in more spans than Python recurses."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  -- the name is torch's
        with contextlib.ExitStack() as stack:
            for number in range(1100):
                stack.enter_context(record_function(str(number)))
            return super().forward(input)


def test_events_may_be_nested_deeper_than_python_recurses(tmp_path: Path) -> None:
    usual = sys.getrecursionlimit()
    fitted = fit(tmp_path, Nested(3, 1), profile={"at": "3step", "steps": 1, "stack": True})
    assert len(profiles(fitted)) == 1
    assert sys.getrecursionlimit() == usual


def test_a_profile_changes_no_bit(tmp_path: Path) -> None:
    plain, seen = nn.Linear(3, 1), nn.Linear(3, 1)
    seen.load_state_dict(plain.state_dict())
    fit(tmp_path / "plain", plain)
    fitted = fit(tmp_path / "seen", seen, profile={"at": "2step", "stack": True})
    assert len(profiles(fitted)) == 1
    for name, value in plain.state_dict().items():
        assert torch.equal(value, seen.state_dict()[name]), name


def test_a_resumed_run_that_is_past_it_takes_none(tmp_path: Path) -> None:
    first = fit(tmp_path, duration="3step", profile={"at": "2step", "steps": 1})
    again = fit(tmp_path, duration="12step", profile={"at": "2step", "steps": 1})
    assert profiles(first) == []  # the run ended in the warm-up
    assert profiles(again) == []


def test_an_evaluation_ends_a_recording_and_is_no_part_of_it(tmp_path: Path) -> None:
    val = TensorDataset(torch.randn(8, 3), torch.randn(8, 1))
    fitted = fit(tmp_path, val=val, eval={"every": "4step"}, profile={"at": "1step", "steps": 20})
    (told,) = profiles(fitted)
    assert (told["step"], told["steps"]) == (4, 2)


def test_an_evaluation_after_the_warm_up_begins_it_anew(tmp_path: Path) -> None:
    val = TensorDataset(torch.randn(8, 3), torch.randn(8, 1))
    fitted = fit(tmp_path, val=val, eval={"every": "4step"}, profile={"at": "3step", "steps": 2})
    (told,) = profiles(fitted)
    assert (told["step"], told["steps"]) == (7, 2)


def test_a_signal_asks_for_one_at_any_time(tmp_path: Path) -> None:
    fitted = fit(tmp_path, Signalling(), profile={"steps": 3})
    (told,) = profiles(fitted)
    assert (told["step"], told["steps"]) == (6, 3)  # asked for in step 2, 3 warms up


def test_a_run_that_keeps_nothing_says_that_it_takes_none(caplog: pytest.LogCaptureFixture) -> None:
    data = TensorDataset(torch.randn(64, 3), torch.randn(64, 1))
    ktrain.fit(nn.Linear(3, 1), data, duration="6step", **GIVEN, profile={"at": "2step"})
    assert "no profile is taken: the run keeps nothing" in caplog.text


def test_a_profile_that_cannot_be_kept_harms_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fit(tmp_path, duration="1step")
    (head,) = tmp_path.rglob("HEAD")
    (head.parent / "profiles").touch()  # a file where the folder belongs
    fitted = fit(tmp_path, profile={"at": "2step", "steps": 1})
    assert fitted.progress.step == 10
    assert profiles(fitted) == []
    assert "the profile of 1 step until 4 is not kept: " in caplog.text


def test_with_an_evaluation_after_every_step_it_gives_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    val = TensorDataset(torch.randn(8, 3), torch.randn(8, 1))
    fitted = fit(tmp_path, val=val, eval={"every": "1step"}, profile={"at": "2step", "steps": 1})
    assert profiles(fitted) == []
    assert caplog.text.count("there is an evaluation after every step or two") == 1


class Failing(nn.Linear):
    """Fails while it is recorded."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
        if torch._C._autograd._profiler_enabled():
            raise RuntimeError("not now")
        return super().forward(input)


def test_training_that_fails_leaves_no_profiler_on(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not now"):
        fit(tmp_path, Failing(3, 1), profile={"at": "2step", "steps": 3})
    assert not torch._C._autograd._profiler_enabled()
