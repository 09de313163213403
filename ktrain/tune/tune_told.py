"""What is told of a search: the table, the document, the picture, the command that trains the best."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ktrain.spec.tune import Values
from ktrain.tune.draw import COLOURS, draw
from ktrain.tune.study import Study
from ktrain.units import counted

_COLOUR: Final = {"COMPLETE": COLOURS[0], "PRUNED": "#9ca3af"}


def ordered(study: Study) -> list[Any]:
    """The best first, then those given up, failed and open ones."""
    sign = 1 if study.tune.direction == "minimize" else -1
    ranks = {"COMPLETE": 0, "PRUNED": 1, "FAIL": 2, "RUNNING": 3}

    def key(trial: Any) -> tuple[int, float, int]:
        value = trial.value if trial.value is not None and math.isfinite(trial.value) else math.inf * sign
        return ranks.get(trial.state.name, 4), sign * value, trial.number

    return sorted(study.study.get_trials(deepcopy=False), key=key)


def table(study: Study) -> tuple[list[str], list[list[str]]]:
    """Names and rows."""
    keys = list(study.tune.space)
    names = ["trial", "state", study.tune.metric, "evaluations", *(_short(key) for key in keys)]
    rows = [
        [
            str(it.number), WORDS.get(it.state.name, it.state.name.lower()), _number(it.value),
            str(len(it.intermediate_values)), *(_number(it.params.get(key)) for key in keys),
        ]
        for it in ordered(study)
    ]  # fmt: skip
    return names, rows


WORDS: Final = {"COMPLETE": "done", "PRUNED": "given up", "FAIL": "failed", "RUNNING": "open"}


def document(study: Study) -> dict[str, Any]:
    """For `-o json`."""
    best = study.best
    return {
        "metric": study.tune.metric,
        "direction": study.tune.direction,
        "best": None if best is None else best.number,
        "trials": [
            {
                "number": it.number,
                "state": WORDS.get(it.state.name, it.state.name.lower()),
                "value": it.value,
                "values": [value for _, value in sorted(it.intermediate_values.items())],
                "params": it.params,
                "sets": list(it.user_attrs.get("sets", ())),
                "run": it.user_attrs.get("run", ""),
                "why": it.user_attrs.get("why", ""),
            }
            for it in ordered(study)
        ],
    }


def command_of_best(study: Study, program: str, job_file: str, sets: Sequence[str]) -> str:
    """Trains the best values as an ordinary run; empty when there are none."""
    best = study.best
    if best is None:
        return ""
    words = [word for it in (*sets, *best.user_attrs["sets"]) for word in ("--set", it)]
    return f"{program} {shlex.join(['run', job_file, *words])}"


def picture(path: Path, study: Study) -> Path:
    """Values over the trials on the left; all keys side by side on the right, a line a trial."""
    trials = [it for it in study.study.get_trials(deepcopy=False) if it.value is not None and math.isfinite(it.value)]

    def history(axes: Any) -> None:
        better = min if study.tune.direction == "minimize" else max
        done = [it for it in trials if it.state.name == "COMPLETE"]
        for state, colour in _COLOUR.items():
            found = [it for it in trials if it.state.name == state]
            axes.scatter([it.number for it in found], [it.value for it in found], color=colour, label=WORDS[state])
        best = [better(other.value for other in done[: n + 1]) for n in range(len(done))]
        axes.step([it.number for it in done], best, where="post", color=COLOURS[1], linewidth=1, label="best so far")
        axes.set(xlabel="trial", ylabel=study.tune.metric)
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)

    def coordinates(axes: Any) -> None:
        keys = list(study.tune.space)
        done = [it for it in trials if it.state.name == "COMPLETE"]
        columns = [[_place(study.tune.space[key], it.params[key]) for it in done] for key in keys]
        columns.append(_scaled([it.value for it in done]))
        for number, trial in enumerate(done):
            is_best = study.best is not None and trial.number == study.best.number
            axes.plot(
                range(len(columns)), [column[number] for column in columns], marker=".",
                color=COLOURS[1] if is_best else COLOURS[0], alpha=1.0 if is_best else 0.35, zorder=2 if is_best else 1,
            )  # fmt: skip
        names = [f"{_short(key)}\n{_span(study.tune.space[key])}" for key in keys]
        axes.set_xticks(range(len(columns)), [*names, study.tune.metric], fontsize=8)
        axes.set_yticks([])

    return draw(path, [history, coordinates], title=f"{study.job}: {counted(len(trials), 'trial')}")


def _place(values: Values, param: Any) -> float:
    """Between 0 and 1 along its axis."""
    if values.choices is not None:
        known = values.all() or []
        at = next((n for n, it in enumerate(known) if it == param or repr(it) == repr(param)), 0)
        return at / max(1, len(known) - 1)
    assert values.low is not None
    assert values.high is not None
    low, high, at_value = (math.log(it) if values.log else float(it) for it in (values.low, values.high, param))
    return (at_value - low) / (high - low) if high > low else 0.5


def _scaled(found: Sequence[float]) -> list[float]:
    low, high = min(found, default=0.0), max(found, default=1.0)
    return [(it - low) / (high - low) if high > low else 0.5 for it in found]


def _span(values: Values) -> str:
    if values.choices is not None:
        return f"{counted(len(values.choices), 'choice')}"
    return f"{values.low:g} to {values.high:g}" + (" (log)" if values.log else "")


def _short(key: str) -> str:
    return key.removeprefix("spec.").removeprefix("trainer.")


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)
