"""Libraries that not everybody installs."""

import importlib
from typing import Any

from ktrain.errors import DataError


def require(module: str, extra: str, what: str) -> Any:
    """The module; DataError names the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = module.partition(".")[0]
        raise DataError(
            f"{what} needs {library}, which is not installed; pip install 'ktrain-operator[{extra}]'"
        ) from error
