"""`ktrain kfold` over jobs that take no time: what is trained, what is told."""

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ktrain.names import CliExit
from ktrain.tune import folds as told
from ktrain.tune.drive import Drive
from ktrain.tune.folds import Folds, make_folds
from tests.cli.test_cli import ktrain
from tests.tune.fake_jobs import FakeJobs
from tests.tune.here import patient

NO_OTHER = ("trainer.data.val=", "trainer.data.split=")


@dataclass
class Quiet:
    """Nobody interrupts."""

    count: int = 0


@dataclass
class Ticks:
    """A clock that goes on by a second each time it is looked at."""

    now: float = 0.0
    said: list[str] = field(default_factory=list)

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def loss(values: dict[str, Any]) -> list[float]:
    index = values["trainer.data.fold.index"]
    return [2.0, 1.0 + index / 10]


def train(jobs: FakeJobs, parallel: int = 1, k: int = 4) -> Folds:
    ticks = Ticks()
    folds = make_folds("demo", k, tell=ticks.said.append)
    Drive(folds, jobs, parallel, Quiet(), ticks.said.append, clock=ticks, sleep=lambda _: None).run()
    return folds


@pytest.mark.parametrize("parallel", [1, 3])
def test_each_part_is_held_back_once(parallel: int, tmp_path: Path) -> None:
    jobs = FakeJobs(loss)
    folds = train(jobs, parallel)
    assert [(it.name, it.sets, it.is_new) for it in jobs.started] == [
        (f"demo-f{n}", (*NO_OTHER, "trainer.data.fold.k=4", f"trainer.data.fold.index={n}"), False) for n in range(4)
    ]
    assert jobs.most == parallel
    values = [1.0, 1.1, 1.2, 1.3]
    assert folds.is_done
    assert told.mean_and_std(values) == (statistics.fmean(values), statistics.stdev(values))
    names, rows = told.table(folds, "last")
    assert names == ["fold", "state", "val/loss"]
    assert rows[-2:] == [["mean", "", "1.15"], ["std", "", "0.1291"]]
    document = told.document(folds, "last")
    assert document["mean"]["val/loss"] == pytest.approx(1.15)
    assert [it["run"] for it in document["folds"]] == [f"fake://demo-f{n}" for n in range(4)]
    assert told.picture(tmp_path / "it.png", folds, "val/loss", "last").read_bytes().startswith(b"\x89PNG")


def test_after_a_failure_no_further_fold_is_begun() -> None:
    jobs = FakeJobs(loss, failing=frozenset({"demo-f1"}))
    folds = train(jobs)
    assert [it.name for it in jobs.started] == ["demo-f0", "demo-f1"]
    assert [it.state for it in folds.folds] == ["done", "failed", "open", "open"]
    assert not folds.is_done
    _, rows = told.table(folds, "last")
    assert rows[1] == ["2", "failed", ""]
    assert rows[-2:] == [["mean", "", "1"], ["std", "", ""]]


def test_columns_that_decide_the_parts_are_passed_on() -> None:
    folds = make_folds("demo", 3, stratify_by="label", group_by="user", fresh=True, tell=lambda _: None)
    assert folds.folds[2].work.sets == (
        *NO_OTHER, "trainer.data.fold.k=3", "trainer.data.fold.stratifyBy=label", "trainer.data.fold.groupBy=user",
        "trainer.data.fold.index=2",
    )  # fmt: skip
    assert folds.folds[2].work.is_new


SETS = [
    word
    for it in (
        "trainer.data.train.args.size=240", "trainer.duration=2ep", "trainer.eval.every=1ep", "procsPerNode=1",
        "trainer.checkpoint.best=",
    )
    for word in ("--set", it)
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_real_folds_hold_back_each_sample_once_and_a_second_call_trains_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    ktrain("init", str(folder))
    first = patient("kfold", "job.yaml", "--k", "2", *SETS, "-o", "json", cwd=folder)
    assert first.returncode == CliExit.OK, first.stderr
    found = json.loads(first.stdout)
    values = [fold["values"]["val/loss"] for fold in found["folds"]]
    assert values[0] != values[1]
    assert found["mean"]["val/loss"] == pytest.approx(statistics.fmean(values))
    assert (folder / "studies" / "demo-kfold" / "kfold.png").is_file()
    again = patient("kfold", "job.yaml", "--k", "2", *SETS, "-o", "json", cwd=folder)
    assert json.loads(again.stdout) == found
    assert "already done" in (folder / "studies" / "demo-kfold" / "logs" / "demo-f1.log").read_text(encoding="utf-8")


def test_sections_of_ones_own_get_the_fold() -> None:
    folds = make_folds("demo", 2, into=("trainer.data.train.args", "trainer.data.val.args"), tell=lambda _: None)
    assert folds.folds[1].work.sets == (
        "trainer.data.train.args.k=2", "trainer.data.val.args.k=2", "trainer.data.train.args.index=1",
        "trainer.data.val.args.index=1",
    )  # fmt: skip


def test_folds_of_ones_own_take_no_columns(tmp_path: Path) -> None:
    ktrain("init", str(tmp_path))
    done = ktrain("kfold", "job.yaml", "--into", "trainer.data.val.args", "--group-by", "user", cwd=tmp_path)
    assert (done.returncode, "--group-by mean nothing" in done.stderr) == (CliExit.USAGE, True), done.stderr
