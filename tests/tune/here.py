"""Commands in this very process: scipy and matplotlib are imported once for all tests."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str


Call = Callable[..., Done]
