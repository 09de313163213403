"""What came of a game day."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

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

    @classmethod
    def judged(
        cls, verdicts: Sequence[Verdict], struck: Sequence[Struck], recoveries: Sequence[Recovery], *,
        goodput: str = "", ratio: float | None = None,
    ) -> Self:  # fmt: skip
        """Of a game that was played to its end: lost when one promise was not kept."""
        is_good = all(it.ok is not False for it in verdicts)
        code = CliExit.OK if is_good else CliExit.JOB_FAILED
        return cls(code, tuple(verdicts), tuple(struck), tuple(recoveries), goodput, ratio)
