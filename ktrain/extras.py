"""Libraries that not everybody installs, imported when they are needed and not before."""

import importlib
from typing import Any

from ktrain.errors import BuildError


def require(module: str, extra: str, what: str, where: str = "") -> Any:
    """The module; BuildError names the extra that brings it. what: needs it, for instance `reading images`."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        is_missing = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == library
        why = "is not installed" if is_missing else f"cannot be imported ({error})"
        message = f"{what} needs {library}, which {why}; pip install 'ktrain-operator[{extra}]'"
        raise BuildError(message, where) from error
