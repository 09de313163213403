"""From a list of transforms in the job file to one function of a sample."""

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ktrain.errors import BuildError, DataError
from ktrain.extras import require
from ktrain.spec.common import Use
from ktrain.spec.transform import Transform
from ktrain_trainer import build
from ktrain_trainer.datasets.text_aug import TEXT

Change = Callable[[Any], Any]


@dataclass(frozen=True)
class Chain:
    """One after the other; of pairs `input` and `target` name the parts, of mappings their keys."""

    changes: Sequence[tuple[Change, str | None]]

    def __call__(self, sample: Any) -> Any:
        """The changed sample, a new one."""
        for change, part in self.changes:
            sample = change(sample) if part is None else _on(change, part, sample)
        return sample


def make(steps: Sequence[Transform], where: str) -> Chain:
    """BuildError names the transform that cannot be built."""
    return Chain([(_build(step, f"{where}[{number}]"), _part(step)) for number, step in enumerate(steps)])


def _part(step: Transform) -> str | None:
    return step.on or ("input" if step.name in TEXT else None)


def _build(step: Transform, where: str) -> Change:
    if step.use:
        made = build.construct(Use(use=step.use, args=step.args), where)
        if not callable(made):
            raise BuildError(f"{step.use} gave a {type(made).__name__}; it must give a function of a sample", where)
        return made  # type: ignore[no-any-return]
    assert step.name is not None
    if step.name in TEXT:
        build.check_args(TEXT[step.name], step.args, f"{where}.args")
        return TEXT[step.name](**step.args)
    return _of_torchvision(step.name, step.args, where)


def _of_torchvision(name: str, args: Mapping[str, Any], where: str) -> Change:
    v2 = require("torchvision.transforms.v2", "data", f"transform {name!r}")
    known = [it for it, found in vars(v2).items() if inspect.isclass(found) and issubclass(found, v2.Transform)]
    if name not in known:
        near = difflib.get_close_matches(name, [*known, *TEXT], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; those of text are {', '.join(TEXT)}"
        raise BuildError(f"torchvision.transforms.v2 has no {name!r}{hint}", f"{where}.name")
    build.check_args(getattr(v2, name), args, f"{where}.args")
    try:
        made: Change = getattr(v2, name)(**{key: _argument(key, value, where) for key, value in args.items()})
    except (ValueError, TypeError) as error:
        raise BuildError(f"{name}: {error}", f"{where}.args") from error
    return made


def _argument(key: str, value: Any, where: str) -> Any:
    """What YAML cannot write: dtypes, and transforms inside transforms."""
    if key == "dtype" and isinstance(value, str):
        found = getattr(torch, value, None)
        if not isinstance(found, torch.dtype):
            raise BuildError(f"torch has no dtype {value!r}", f"{where}.args.dtype")
        return found
    if key == "transforms" and isinstance(value, list):
        return [_of_torchvision(it["name"], it.get("args", {}), where) for it in value]
    return value


def _on(change: Change, part: str, sample: Any) -> Any:
    if isinstance(sample, Mapping):
        key = "text" if part == "input" and part not in sample else part
        if key in sample:
            return {**sample, key: change(sample[key])}
        raise DataError(f"a transform is on {part!r}, but the sample has {', '.join(map(str, sample))}; set its on:")
    if isinstance(sample, tuple) and len(sample) == 2 and part in {"input", "target"}:
        return (change(sample[0]), sample[1]) if part == "input" else (sample[0], change(sample[1]))
    if part == "input" and not isinstance(sample, tuple):
        return change(sample)
    raise DataError(f"a transform is on {part!r}, but the sample is a {type(sample).__name__}; set its on:")
