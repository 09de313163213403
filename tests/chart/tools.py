"""Checkers that are built from source; where they cannot be, a test is skipped, which CI counts as a failure."""

from pathlib import Path

import pytest

from hack.chart import binaries
from hack.cluster.shell import NeedError


def program(name: str) -> Path:
    """The checker."""
    try:
        return binaries.ensure(name)
    except NeedError as error:
        pytest.skip(str(error))
