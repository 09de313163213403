"""The search itself, over jobs that take no time: optuna's samplers and pruners decide as in optuna's own loop."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest

from ktrain.errors import Conflict, SpecError
from ktrain.spec.tune import Tune
from ktrain.tune import tune_told
from ktrain.tune.drive import Drive
from ktrain.tune.folder import held
from ktrain.tune.samplers import make_pruner, make_sampler
from ktrain.tune.space import distribution, settings
from ktrain.tune.study import Study, open_study
from ktrain.tune.work import job_name
from tests.tune.fake_jobs import FakeJobs

SPACE: dict[str, Any] = {
    "trainer.optim.lr": {"low": 1e-4, "high": 1e-1, "log": True},
    "trainer.model.args.width": {"low": 8, "high": 64, "step": 8},
    "trainer.optim.name": {"choices": ["adamw", "sgd"]},
}
GRID: dict[str, Any] = {
    "trainer.optim.lr": {"choices": [0.1, 0.01]},
    "trainer.model.args.width": {"low": 1, "high": 3},
}


@dataclass
class Hand:
    """Counts signals, and sends one when a job has seen so many evaluations."""

    count: int = 0


@dataclass
class World:
    """Runs studies in one folder; each `run` is a session of its own."""

    folder: Path
    told: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def open(self, tune: Tune, base: dict[str, Any] | None = None) -> Study:
        return open_study(self.folder / "journal.log", tune, "demo", base=base or {}, tell=self.told.append)

    def run(self, tune: Tune, jobs: FakeJobs, *, interrupt_after: int | None = None) -> Study:
        study, hand = self.open(tune), Hand()

        def sleep(seconds: float) -> None:
            self.seconds += seconds
            rounds.append(None)
            hand.count = int(interrupt_after is not None and len(rounds) >= interrupt_after)

        rounds: list[None] = []
        Drive(study, jobs, tune.parallel, hand, self.told.append, clock=self.clock, sleep=sleep).run()
        return study

    def clock(self) -> float:
        self.seconds += 1.0
        return self.seconds


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def tune(**keys: Any) -> Tune:
    return Tune.model_validate({"space": SPACE, "trials": 8, **keys})


def loss(values: dict[str, Any]) -> list[float]:
    """Better for learning rates near 0.01; three evaluations that come down."""
    width, lr = values.get("trainer.model.args.width", 8), values["trainer.optim.lr"]
    end = abs(lr - 0.01) * 10 + width / 100 + (values.get("trainer.optim.name") == "sgd")
    return [end + 2, end + 1, end]


def states(study: Study) -> list[str]:
    return [it.state.name for it in study.study.trials]


@pytest.mark.parametrize("name", ["tpe", "random", "qmc", "gp"])
def test_a_sampler_draws_what_it_draws_in_optunas_own_loop(name: str, world: World) -> None:
    given = tune(sampler=name, seed=5, trials=12 if name == "tpe" else 4)
    found = world.run(given, FakeJobs(loss)).study.trials
    space = {key: distribution(it) for key, it in given.space.items()}
    reference = optuna.create_study(sampler=make_sampler(given))
    for _ in range(given.num_trials):
        trial = reference.ask(space)
        reference.tell(trial, loss(trial.params)[-1])
    assert [it.params for it in found] == [it.params for it in reference.trials]
    assert [it.value for it in found] == [it.value for it in reference.trials]
    assert all(isinstance(it.params["trainer.model.args.width"], int) for it in found)
    assert len({it.params["trainer.optim.lr"] for it in found}) == len(found)


def test_a_grid_is_tried_point_by_point_and_no_further(world: World) -> None:
    jobs = FakeJobs(loss)
    study = world.run(tune(space=GRID, sampler="grid", trials=None, parallel=2), jobs)
    tried = sorted((it.params["trainer.optim.lr"], it.params["trainer.model.args.width"]) for it in study.study.trials)
    assert tried == [(lr, width) for lr in (0.01, 0.1) for width in (1, 2, 3)]
    assert jobs.most == 2
    assert study.best is not None
    assert study.best.params == {"trainer.optim.lr": 0.01, "trainer.model.args.width": 1}


@pytest.mark.parametrize(
    ("pruner", "args"),
    [
        ("none", {}),
        ("median", {"n_startup_trials": 2}),
        ("hyperband", {"min_resource": 1, "max_resource": 3, "reduction_factor": 2}),
        ("patient", {"patience": 1}),
        ("wilcoxon", {"n_startup_steps": 1, "p_threshold": 0.4}),
    ],
)
def test_a_pruner_gives_up_whom_it_gives_up_in_optunas_own_loop(
    pruner: str, args: dict[str, Any], world: World
) -> None:
    def curve(values: dict[str, Any]) -> Sequence[float]:
        lr = values["trainer.optim.lr"]
        return [1 + lr, 1 - lr, 1 - lr, 1 + 20 * lr, 1 + 30 * lr, 2.0]

    given = tune(sampler="random", pruner=pruner, prunerArgs=args, trials=10)
    found = world.run(given, FakeJobs(curve))
    space = {key: distribution(it) for key, it in given.space.items()}
    reference = optuna.create_study(study_name="demo", sampler=make_sampler(given), pruner=make_pruner(given))
    for _ in range(given.num_trials):
        trial = reference.ask(space)
        for number, value in enumerate(curve(trial.params)[:-1], start=1):
            trial.report(value, number)
            if trial.should_prune():
                reference.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            reference.tell(trial, curve(trial.params)[-1])
    assert states(found) == [it.state.name for it in reference.trials]
    assert ("PRUNED" in states(found)) == (pruner != "none")


def test_an_interrupted_study_goes_on_with_the_same_trial(world: World) -> None:
    jobs = FakeJobs(loss)
    given = tune(sampler="random", trials=3)
    first = world.run(given, jobs, interrupt_after=5)
    begun = first.study.trials
    assert [it.state.name for it in begun] == ["COMPLETE", "RUNNING"]
    after = world.run(given, jobs)
    assert states(after) == ["COMPLETE"] * 3
    assert after.study.trials[1].params == begun[1].params
    assert [(it.name, it.is_new) for it in jobs.started] == [
        ("demo-t0", True), ("demo-t1", True), ("demo-t1", False), ("demo-t2", True)
    ]  # fmt: skip
    assert sorted(after.study.trials[1].intermediate_values) == [1, 2, 3]
    assert len({it.params["trainer.optim.lr"] for it in after.study.trials}) == 3


def test_a_finished_study_starts_nothing_and_a_raised_one_goes_on(world: World) -> None:
    jobs = FakeJobs(loss)
    world.run(tune(sampler="random", trials=2), jobs)
    world.run(tune(sampler="random", trials=2), jobs)
    assert len(jobs.started) == 2
    world.run(tune(sampler="random", trials=3), jobs)
    assert [it.name for it in jobs.started] == ["demo-t0", "demo-t1", "demo-t2"]


def test_three_failures_at_the_beginning_end_the_search(world: World) -> None:
    study = world.run(tune(), FakeJobs(loss, failing=frozenset(f"demo-t{number}" for number in range(9))))
    assert states(study) == ["FAIL"] * 3
    assert study.is_hopeless
    assert study.study.trials[0].user_attrs["why"] == "it cannot be built"


def test_a_failed_trial_does_not_end_the_search(world: World) -> None:
    study = world.run(tune(sampler="random", trials=3), FakeJobs(loss, failing=frozenset({"demo-t1"})))
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE"]
    told = tune_told.document(study)
    assert [it["state"] for it in told["trials"]] == ["done", "done", "failed"]
    assert told["trials"][0]["number"] == told["best"]


def test_a_value_that_is_not_finite_is_a_failure(world: World) -> None:
    study = world.run(tune(trials=1), FakeJobs(lambda _: [1.0, float("nan")]))
    assert states(study) == ["FAIL"]
    best = world.run(tune(trials=2), FakeJobs(lambda _: [1.0, float("nan")]))
    assert best.best is None


def test_the_best_is_told_as_a_command_and_in_a_table_and_a_picture(world: World) -> None:
    given = tune(space={"trainer.optim.lr": {"choices": [0.1, 0.01]}}, sampler="grid", trials=None)
    study = world.run(given, FakeJobs(loss))
    told = tune_told.command_of_best(study, "ktrain", "my job.yaml", ["nodes=1"])
    assert told == "ktrain run 'my job.yaml' --set nodes=1 --set trainer.optim.lr=0.01"
    names, rows = tune_told.table(study)
    assert names == ["trial", "state", "val/loss", "evaluations", "optim.lr"]
    assert [(row[1], row[4]) for row in rows] == [("done", "0.01"), ("done", "0.1")]
    path = tune_told.picture(world.folder / "study.svg", study)
    assert "best so far" in path.read_text(encoding="utf-8") or path.stat().st_size > 5000


@pytest.mark.parametrize(
    ("change", "base", "told"),
    [
        ({"metric": "val/accuracy"}, 0, "spec.tune.metric has changed since this study began"),
        ({"space": GRID}, 0, "spec.tune.space has changed"),
        ({}, 1, "spec.trainer.seed was 0 when this run began; it is 1 now"),
    ],
    ids=["metric", "space", "job"],
)
def test_another_search_is_no_part_of_the_study(change: dict[str, Any], base: int, told: str, world: World) -> None:
    world.open(tune(), {"spec": {"trainer": {"seed": 0}}})
    with pytest.raises(SpecError, match=told):
        world.open(tune(**change), {"spec": {"trainer": {"seed": base}}})


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"samplerArgs": {"n_start": 1}}, "optuna refuses these for tpe"),
        ({"pruner": "patient", "prunerArgs": {"patience": -1}}, "optuna refuses these for patient"),
    ],
    ids=["unknown", "value"],
)
def test_wrong_arguments_of_optuna_are_one_sentence(keys: dict[str, Any], told: str, world: World) -> None:
    with pytest.raises(SpecError, match=told):
        world.open(tune(**keys))


def test_a_drawn_value_becomes_a_setting_that_means_it() -> None:
    given = Tune.model_validate(
        {
            "space": {
                "trainer.optim.args.betas": {"choices": [[0.9, 0.99], [0.8, 0.9]]},
                "trainer.model.args.act": {"choices": ["1", 1]},
                "env.MODE": {"choices": ["007"]},
                "trainer.schedule.warmup": {"choices": ["1ep"]},
            }
        }
    ).space
    params = {
        "trainer.optim.args.betas": "[0.8, 0.9]", "trainer.model.args.act": "1", "env.MODE": "007",
        "trainer.schedule.warmup": "1ep",
    }  # fmt: skip
    assert settings(given, params) == (
        "trainer.optim.args.betas=[0.8, 0.9]", 'trainer.model.args.act="1"', "env.MODE=007", 'trainer.schedule.warmup="1ep"',
    )  # fmt: skip


def test_a_long_name_keeps_its_number() -> None:
    assert job_name("a" * 60, "t", 12, 50) == "a" * 46 + "-t12"


def test_one_program_at_a_time_works_on_a_study(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(Conflict, match="another ktrain works on the study"), held(tmp_path):
        pass
