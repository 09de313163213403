"""Keys of a search, checked before the first trial: each must be one of the job file, and each value must fit it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from ktrain.load import override
from ktrain.load.compose import Document, Location
from ktrain.load.explain import Where, explain
from ktrain.load.problem import Problem
from ktrain.spec import TrainingJob
from ktrain.spec.tune import Tune, Values


def check_space(tune: Tune, document: Document, where: Where) -> list[Problem]:
    """One problem a key at most, at its place in spec.tune.space. What only two keys together break is left to the trial."""
    found = (_first(key, values, document, where) for key, values in tune.space.items())
    return [problem for problem in found if problem]


def _first(key: str, values: Values, document: Document, where: Where) -> Problem | None:
    path = override.parse(f"{key}=").path
    at: Location = ("spec", "tune", "space", key)
    for value in values.extremes():
        changed = replace(document, value=override.apply(document.value, [override.Override(path, value, key)]))
        for problem in _problems(path, changed, where, at):
            return replace(problem, message=f"spec.tune.space: {problem.message}", path=f"spec.tune.space.{key}")
    return None


def _problems(path: Location, changed: Document, where: Where, at: Location) -> Iterator[Problem]:
    """Those of the key itself: in its value, or on the way to it."""

    def here(_location: Location, _of_key: bool) -> Mapping[str, Any]:
        return where(at, True)

    try:
        TrainingJob.model_validate(changed.value, by_alias=True, by_name=False)
    except ValidationError as error:
        for it in error.errors(include_url=False):
            for problem in explain([it], changed, here):
                found = tuple(problem.path.replace("[", ".").replace("]", "").split("."))
                own = tuple(map(str, path))
                is_below = found[: len(own)] == own
                is_on_the_way = own[: len(found)] == found and it["type"] == "extra_forbidden"
                if is_below or is_on_the_way:
                    yield problem
