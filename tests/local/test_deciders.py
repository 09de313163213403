"""What `ktrain run` decides, without a process."""

import io
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

from ktrain import progress
from ktrain.history import Commit, Head
from ktrain.local import ending, operator
from ktrain.local.mapping import Machine, adapt
from ktrain.local.view import panel, row, sparkline
from ktrain.names import CliExit
from ktrain.picture import Picture
from ktrain.spec import TrainingJob
from ktrain.spec.platform import Restart
from ktrain.taken import Taken

LAPTOP = Machine(gpus=0, cores=4)


def job(**spec: Any) -> TrainingJob:
    return TrainingJob.model_validate({"metadata": {"name": "demo"}, "spec": {"script": {"path": "a.py"}, **spec}})


class TestMapping:
    def test_a_laptop_job_is_taken_as_it_is(self) -> None:
        mapped = adapt(job(nodes=2, procsPerNode=3), LAPTOP, nodes=None, procs=None)
        assert (mapped.nodes, mapped.procs, mapped.told) == (2, 3, ())

    def test_gpus_become_as_many_cpu_ranks_as_there_are_cores(self) -> None:
        mapped = adapt(job(nodes=2, resources={"nvidia.com/gpu": 8}), LAPTOP, nodes=None, procs=None)
        assert mapped.procs == 2
        assert mapped.told == ("8 GPUs a node → 2 CPU ranks a node: there is no GPU here",)

    def test_with_gpus_nothing_is_replaced(self) -> None:
        mapped = adapt(job(resources={"nvidia.com/gpu": 2}), Machine(gpus=2, cores=4), nodes=None, procs=None)
        assert (mapped.procs, mapped.told) == (2, ())

    def test_the_command_line_wins(self) -> None:
        mapped = adapt(job(nodes={"min": 1, "max": 4}), LAPTOP, nodes=3, procs=2)
        assert (mapped.nodes, mapped.procs, mapped.told) == (3, 2, ())
        assert mapped.job.spec.max_ranks == 6

    def test_each_replacement_is_said(self) -> None:
        mapped = adapt(
            job(
                nodes={"min": 1, "max": 2}, storage={"url": "s3://b", "secret": "s3"},
                secretEnv={"TOKEN": {"secret": "a", "key": "b"}}, volumes=[{"name": "d", "mountPath": "/d", "emptyDir": True}],
            ),
            LAPTOP, nodes=None, procs=None,
        )  # fmt: skip
        assert [told.split(" → ")[0] for told in mapped.told] == [
            "nodes 1 to 2", "storage.secret 's3'", "secretEnv TOKEN", "volume 'd' at /d",
        ]  # fmt: skip


class TestOperator:
    BUDGET = Restart.model_validate({"max": 2, "window": "1m", "backoff": {"base": "2s", "cap": "3s"}})

    @pytest.mark.parametrize(
        ("code", "stopping", "failures", "action", "pause"),
        [
            (0, False, [], "done", 0), (0, True, [], "done", 0), (70, False, [100], "fail", 0), (143, False, [], "restart", 0),
            (143, True, [], "leave", 0), (137, True, [100], "leave", 0), (137, False, [100], "restart", 0),
            (200, False, [90, 100], "restart", 2), (200, False, [80, 90, 100], "fail", 0), (200, False, [1, 2, 3, 100], "restart", 0),
        ],
    )  # fmt: skip
    def test_the_exit_code_decides(
        self, code: int, stopping: bool, failures: list[float], action: str, pause: float
    ) -> None:
        verdict = operator.judge(code, stopping=stopping, failures=failures, now=100, budget=self.BUDGET)
        assert (verdict.action, verdict.pause) == (action, timedelta(seconds=pause))

    @pytest.mark.parametrize(("is_local", "action"), [(True, "fail"), (False, "restart")])
    def test_a_disk_here_does_not_mend_itself(self, is_local: bool, action: str) -> None:
        verdict = operator.judge(201, stopping=False, failures=[], now=0, budget=self.BUDGET, is_local=is_local)
        assert verdict.action == action


FIRST = {
    "rank": 0, "step": 120, "total_steps": 2000.0, "loss": 2.3125, "metrics": {"val/loss": 2.4}, "samples_per_second": 84.2,
    "eta_seconds": 190.0, "phase": "train", "progress": 0.5, "checkpoint_step": 100, "checkpoint_at": 988.0, "last_step_at": 999.5,
    "memory_bytes": 300 << 20, "alive": True,
}  # fmt: skip


class TestProgress:
    def test_a_line_says_it_all(self) -> None:
        picture = Picture(("running",), (FIRST,), restarts=1, epoch=2)
        assert progress.line(picture, now=1000.0) == (
            "step 120/2000  loss 2.312  val/loss 2.4  84.2 samples/s  ETA 3m10s  saved at 100 (12s ago)  1 restart"
        )

    def test_an_interval_that_the_run_has_chosen_is_told(self) -> None:
        picture = Picture(("running",), ({**FIRST, "checkpoint_interval_seconds": 42.7},))
        assert progress.saved(picture, now=1000.0) == "saved at 100 (12s ago, auto: every 43s)"

    def test_before_the_first_step_it_says_what_happens(self) -> None:
        assert progress.line(Picture(("running",), ({"rank": 0, "step": 0, "phase": "restore"},)), now=0) == "restoring"
        assert progress.line(Picture(("rendezvous",), ()), now=0) == "rendezvous"
        assert progress.line(Picture(), now=0) == "starting"

    @pytest.mark.parametrize(
        ("seconds", "text"), [(0, "0s"), (59.6, "1m00s"), (3599, "59m59s"), (7500, "2h05m"), (273600, "3d04h")]
    )
    def test_lengths_are_short(self, seconds: float, text: str) -> None:
        assert progress.length(seconds) == text

    def test_a_rank_is_a_row(self) -> None:
        assert row(FIRST, now=1000.0) == ("0", "train", "120", "0.5s", "300 MiB")
        assert row({"rank": 1, "alive": False, "exit_code": 137}, now=0) == ("1", "exit 137", "", "", "")

    def test_the_panel_has_a_line_for_each_thing(self) -> None:
        console = Console(width=80, file=io.StringIO(), color_system=None)
        console.print(panel("demo", Picture(("running",), (FIRST,)), [3.0, 2.0], now=1000.0))
        assert isinstance(console.file, io.StringIO)
        lines = console.file.getvalue().splitlines()
        for beginning in ("│ step 120/2000", "│ ━", "│ loss █▁", "│ rank", "│    0  train"):
            assert any(line.startswith(beginning) for line in lines), beginning

    def test_a_sparkline_shows_gaps(self) -> None:
        assert sparkline([1.0, 2.0, float("nan"), 8.0]) == "▁▂ █"
        assert sparkline([]) == ""
        assert sparkline([3.0, 3.0]) == "▁▁"


class TestEnding:
    COMMIT = Commit(500, "m", "0" * 64, 1, 1, 10, 0.0, metric=1.5)
    TAKEN = Taken("a" * 8, 1, "file:///runs/demo/a", Head(1, 1, 1, (COMMIT,)))

    def text(self, ended: CliExit, **cause: Any) -> str:
        return ending.text(
            code=ended, taken=self.TAKEN, head=self.TAKEN.head, seconds=75, cause=cause, again=ending.Again("ktrain", "my job.yaml", ("storage.url=s3://b", "trainer.seed=2")),
            metrics={"val/loss": 1.5},
        )  # fmt: skip

    def test_a_finished_run_says_where_things_are(self) -> None:
        assert self.text(CliExit.OK).splitlines() == [
            "done at step 500 after 1m15s",
            "  val/loss 1.5",
            "  run          file:///runs/demo/a",
            "  last         step 500",
            "  ranked       step 500 (1.5)",
            "  next: ktrain report 'my job.yaml' --set storage.url=s3://b",
        ]

    def test_a_stopped_run_says_how_to_go_on(self) -> None:
        text = self.text(CliExit.INTERRUPTED)
        assert text.startswith("stopped after 1m15s, saved at step 500")
        assert (
            "next: ktrain run 'my job.yaml' --set storage.url=s3://b --set trainer.seed=2   (goes on from there)"
            in text
        )

    def test_a_failed_run_says_why(self) -> None:
        message = "rank 1 exited with 70: ValueError: no"
        text = self.text(CliExit.JOB_FAILED, cause="user", code=70, rank=1, message=message)
        assert text.startswith("failed after 1m15s: user (exit 70) on rank 1: ValueError: no")

    def test_a_done_run_says_so(self) -> None:
        assert ending.already_done(self.TAKEN, ending.Again("ktrain", "job.yaml")).startswith(
            "this run is already done, at step 500"
        )
