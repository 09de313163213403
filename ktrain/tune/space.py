"""From keys of the job file to optuna's distributions, and from a drawn value to a --set."""

import json
from collections.abc import Mapping
from typing import Any

from ktrain.load import override, shape
from ktrain.spec.tune import Values
from ktrain.tune.extra import need


def distribution(values: Values) -> Any:
    """optuna's; mappings and lists among the choices become JSON texts, which is what it can keep."""
    it = need("optuna.distributions")
    if values.choices is not None:
        return it.CategoricalDistribution([_kept(choice) for choice in values.choices])
    if values.is_whole:
        return it.IntDistribution(values.low, values.high, log=values.log, step=values.step or 1)
    return it.FloatDistribution(float(values.low or 0), float(values.high or 0), log=values.log, step=values.step)


def grid(space: Mapping[str, Values]) -> dict[str, list[Any]]:
    """All values of each key."""
    return {key: [_kept(value) for value in values.all() or ()] for key, values in space.items()}


def settings(space: Mapping[str, Values], params: Mapping[str, Any]) -> tuple[str, ...]:
    """A --set for each drawn value."""
    return tuple(setting(key, value_of(space[key], params[key])) for key in space)


def value_of(values: Values, param: Any) -> Any:
    """The value of the job file that optuna keeps as this parameter."""
    if values.choices is None:
        return param
    return next(choice for choice in values.choices if _kept(choice) == param and type(_kept(choice)) is type(param))


def setting(key: str, value: Any) -> str:
    """`key=value`, so that the job file's reader gets this very value."""
    if isinstance(value, str) and shape.expects_text(override.parse(f"{key}=").path):
        return f"{key}={value}"
    return f"{key}={json.dumps(value)}"


def _kept(choice: Any) -> Any:
    return (
        choice if choice is None or isinstance(choice, str | int | float | bool) else json.dumps(choice, sort_keys=True)
    )
