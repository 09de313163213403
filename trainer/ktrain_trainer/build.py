"""From `use: package.module:attr` and `args` to an object; whatever goes wrong in the user's code is told as theirs."""

import difflib
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ktrain.errors import BuildError, KtrainError
from ktrain.spec.common import Use
from ktrain.spec.task import TaskSpec


def resolve(target: str, where: str = "use") -> Any:
    """The object that `package.module:attr` names; BuildError frames the user's own traceback when importing fails."""
    module_name, _, path = target.partition(":")
    found = _module(module_name, where)
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            near = difflib.get_close_matches(part, [name for name in dir(found) if not name.startswith("_")], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise BuildError(f"{module_name} has no {part!r}{hint}", where) from error
    return found


def check_args(target: Any, args: Mapping[str, Any], where: str) -> None:
    """Whether the arguments fit the signature, without calling; BuildError names the one that does not."""
    if not callable(target):
        raise BuildError(f"this is a {type(target).__name__}, which cannot be called with arguments", where)
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):  # builtins without a signature: calling will tell
        return
    parameters = signature.parameters
    if not any(it.kind is inspect.Parameter.VAR_KEYWORD for it in parameters.values()):
        for name in args:
            if name not in parameters:
                raise BuildError(f"{_name(target)} takes no {name!r}{_suggest(name, parameters)}", where)
    try:
        signature.bind(**args)
    except TypeError as error:
        raise BuildError(f"{_name(target)}: {error}; it takes {signature}", where) from error


def construct(use: Use | TaskSpec, where: str, **extra: Any) -> Any:
    """Calls the target with the spec's arguments; a target that is no callable is taken as it is when it has none."""
    target = resolve(use.use, f"{where}.use")
    args = {**use.args, **extra}
    if not callable(target) and not args:
        return target
    check_args(target, args, f"{where}.args")
    try:
        return target(**args)
    except KtrainError:
        raise
    except Exception as error:
        raise BuildError(f"{use.use} failed: {_frame(error)}", where) from error


def _module(name: str, where: str) -> Any:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise BuildError(
                f"there is no module {error.name!r} in {folder} or among the installed packages{_near(error.name)}",
                where,
            ) from error
        raise BuildError(f"importing {name} failed: {_frame(error)}", where) from error
    except Exception as error:
        raise BuildError(f"importing {name} failed: {_frame(error)}", where) from error


def _frame(error: BaseException) -> str:
    """The user's own traceback, without our frames and the import machinery's."""
    ours = (str(Path(__file__).parent), os.path.dirname(importlib.__file__))  # noqa: PTH120
    frames = [it for it in traceback.extract_tb(error.__traceback__) if not it.filename.startswith((*ours, "<frozen"))]
    told = "".join(traceback.format_list(frames)) + "".join(traceback.format_exception_only(error))
    return f"{type(error).__name__}: {error}\n" + "".join(f"  | {line}\n" for line in told.splitlines())


def _near(name: str) -> str:
    here = [path.stem for path in Path.cwd().glob("*.py")]
    near = difflib.get_close_matches(name, here, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _suggest(name: str, parameters: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(parameters), n=1)
    known = ", ".join(parameters) or "no arguments"
    return f"; did you mean {near[0]!r}?" if near else f"; it takes {known}"


def _name(target: Any) -> str:
    return str(getattr(target, "__qualname__", None) or target)
