"""What came of a game day."""

from dataclasses import dataclass

from ktrain.chaos.judge import Recovery
from ktrain.chaos.trace import Struck
from ktrain.local.verdict import Verdict
from ktrain.names import CliExit


@dataclass(frozen=True, slots=True)
class Game:
    """Verdicts, and what they are drawn from."""

    code: CliExit
    verdicts: tuple[Verdict, ...]
    struck: tuple[Struck, ...] = ()
    recoveries: tuple[Recovery, ...] = ()
    goodput: str = ""
    ratio: float | None = None
