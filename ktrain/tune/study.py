"""optuna's study over jobs: what to try next, what to give up, what was found. Kept in a journal file.

optuna is asked and told from here only, never in a rank: there each rank would draw its own trial.
"""

import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ktrain.errors import KtrainError, SpecError
from ktrain.spec.job import MAX_NAME
from ktrain.spec.tune import Tune
from ktrain.tune import space as spaces
from ktrain.tune.extra import need
from ktrain.tune.measure import curve
from ktrain.tune.samplers import make_pruner, make_sampler
from ktrain.tune.work import Ended, Seen, Work, job_name

GIVE_UP: Final = 3  # failures before the first success: the job is wrong, and not the values
_FIXED: Final = ("space", "metric", "direction", "at")


@dataclass
class Study:
    """One search; `tell` says what happens."""

    tune: Tune
    job: str  # name of the job that is searched for
    study: Any  # optuna's
    tell: Callable[[str], None]
    _trials: dict[str, Any] = field(default_factory=dict)  # optuna's, by the job's name
    _reported: dict[str, int] = field(default_factory=dict)  # evaluations that optuna knows of
    _pruned: set[str] = field(default_factory=set)
    _left: list[Any] = field(default_factory=list)  # trials that an earlier session has begun

    def __post_init__(self) -> None:
        self._left = [it for it in self.study.get_trials(deepcopy=False) if it.state.name == "RUNNING"]

    def next(self) -> Work | None:
        """One that was interrupted goes on; then a new one, as long as there are trials left."""
        if self._left:
            return self._go_on(self._left.pop(0))
        trials = self.study.get_trials(deepcopy=False)
        if len(trials) >= self.tune.num_trials or self.is_hopeless:
            return None
        trial = self.study.ask({key: spaces.distribution(it) for key, it in self.tune.space.items()})
        sets = spaces.settings(self.tune.space, trial.params)
        trial.set_user_attr("sets", list(sets))
        self.tell(f"trial {trial.number}: {' '.join(sets)}")
        return self._work(trial, trial.number, sets, is_new=True)

    def seen(self, work: Work, seen: Seen) -> bool:
        """Reports new evaluations; whether the trial is given up."""
        trial = self._trials[work.name]
        for number, value in self._report(work, seen):
            if work.name not in self._pruned and trial.should_prune():
                self._pruned.add(work.name)
                self.tell(f"trial {trial.number}: given up at evaluation {number} ({self.tune.metric} {value:.5g})")
        return work.name in self._pruned

    def ended(self, work: Work, ended: Ended, seen: Seen) -> None:
        """Tells optuna; a trial that was stopped by somebody else stays open."""
        was_pruned = work.name in self._pruned
        if ended.how == "done":
            list(self._report(work, seen))
            found = curve(seen.records, self.tune.metric)
            self._done(self._trials[work.name], found.value(self.tune.at, self.tune.direction))
        elif ended.how == "stopped" and was_pruned:
            self._tell(self._trials[work.name], None, "PRUNED")
        elif ended.how == "stopped":
            list(self._report(work, seen))
            self.tell(f"trial {self._trials[work.name].number}: stopped; the next `ktrain tune` goes on with it")
        else:
            self._fail(self._trials[work.name], ended.why)

    @property
    def is_hopeless(self) -> bool:
        """Whether trials fail and none has come to its end."""
        states = [it.state.name for it in self.study.get_trials(deepcopy=False)]
        return states.count("FAIL") >= GIVE_UP and not {"COMPLETE", "PRUNED"} & set(states)

    @property
    def best(self) -> Any | None:
        """The best trial that came to its end."""
        done = [it for it in self.study.get_trials(deepcopy=False) if it.state.name == "COMPLETE"]
        sign = 1 if self.tune.direction == "minimize" else -1
        return min(done, key=lambda it: sign * it.value, default=None)

    def _report(self, work: Work, seen: Seen) -> Iterator[tuple[int, float]]:
        """Evaluations that optuna did not know of, as it is told of each: their number from 1, and the value."""
        trial = self._trials[work.name]
        if seen.url and trial.user_attrs.get("run") != seen.url:
            trial.set_user_attr("run", seen.url)
        for number, value in enumerate(curve(seen.records, self.tune.metric).values, start=1):
            if number > self._reported[work.name]:
                self._reported[work.name] = number
                trial.report(value, number)
                yield number, value

    def _go_on(self, frozen: Any) -> Work:
        trial = need("optuna.trial").Trial(self.study, frozen._trial_id)
        is_new = "run" not in frozen.user_attrs  # it was interrupted before it had a run of its own
        sets = tuple(frozen.user_attrs.get("sets") or spaces.settings(self.tune.space, frozen.params))
        self.tell(f"trial {frozen.number} {'begins again' if is_new else 'goes on'}: {' '.join(sets)}")
        return self._work(trial, frozen.number, sets, is_new=is_new, reported=len(frozen.intermediate_values))

    def _work(self, trial: Any, number: int, sets: tuple[str, ...], *, is_new: bool, reported: int = 0) -> Work:
        work = Work(job_name(self.job, "t", number, MAX_NAME), sets, is_new)
        self._trials[work.name], self._reported[work.name] = trial, 0 if is_new else reported
        return work

    def _done(self, trial: Any, value: float) -> None:
        if not math.isfinite(value):
            self._fail(trial, f"{self.tune.metric} is {value}")
            return
        self._tell(trial, value, "COMPLETE")
        best = self.best
        assert best is not None
        self.tell(f"trial {trial.number}: {self.tune.metric} {value:.5g} (best: {best.value:.5g}, trial {best.number})")

    def _fail(self, trial: Any, why: str) -> None:
        trial.set_user_attr("why", why)
        self._tell(trial, None, "FAIL")
        self.tell(f"trial {trial.number}: failed: {why}")

    def _tell(self, trial: Any, value: float | None, state: str) -> None:
        self.study.tell(trial, value, state=need("optuna.trial").TrialState[state])


def open_study(path: Path, tune: Tune, job: str, *, base: Mapping[str, Any], tell: Callable[[str], None]) -> Study:
    """The study of this journal file, begun or gone on with; SpecError when it was begun for another search."""
    optuna = need("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Samplers and pruners that optuna may still change are marked so in docs/studies.md.
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    path.parent.mkdir(parents=True, exist_ok=True)
    backend = need("optuna.storages.journal").JournalFileBackend(str(path))
    storage = optuna.storages.JournalStorage(backend)
    known = [it.study_name for it in optuna.get_all_study_summaries(storage=storage)]
    begun = optuna.load_study(study_name=job, storage=storage) if job in known else None
    try:
        it = optuna.create_study(
            study_name=job, storage=storage, load_if_exists=True, direction=tune.direction,
            sampler=make_sampler(tune, begun=len(begun.trials) if begun else 0), pruner=make_pruner(tune),
        )  # fmt: skip
    except (ValueError, TypeError) as error:
        raise SpecError(str(error), "spec.tune") from error
    _check(it, tune, base, path)
    return Study(tune, job, it, tell)


def _check(study: Any, tune: Tune, base: Mapping[str, Any], path: Path) -> None:
    """What trials have in common must not change between them."""
    from ktrain import resume

    now = json.loads(tune.model_dump_json(by_alias=True, include=set(_FIXED)))
    begun = study.user_attrs.get("tune")
    if begun is None:
        study.set_user_attr("tune", now)
        study.set_user_attr("base", dict(base))
        return
    changed = [key for key in _FIXED if begun.get(key) != now[key]]
    if changed:
        raise SpecError(
            f"spec.tune.{changed[0]} has changed since this study began ({path.parent}); change it back, or begin another with --study"
        )
    try:
        resume.check(study.user_attrs["base"], base)
    except SpecError as error:
        told = "\n".join(str(error).splitlines()[1:-1])
        raise SpecError(
            f"trials of one study train the same job, but since it began:\n{told}\nchange it back, or begin another with --study"
        ) from error
    if any(it.state.name == "WAITING" for it in study.get_trials(deepcopy=False)):
        raise KtrainError(f"{path} holds trials that somebody has queued; ktrain asks for its own")
