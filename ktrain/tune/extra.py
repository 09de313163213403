"""Libraries of the extra `tune`, imported when they are needed and not before."""

import importlib
from typing import Any

from ktrain.errors import KtrainError


def need(module: str) -> Any:
    """The module; KtrainError names the extra where its library is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise KtrainError(
            f"{library} is not installed, and this needs it: pip install 'ktrain-operator[tune]' ({error})"
        ) from error
