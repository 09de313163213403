"""Which commits to keep."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from ktrain.history import Commit


@dataclass(frozen=True, slots=True)
class Retention:
    """Keep the newest `last`, and the best `best` by their metric."""

    last: int = 2
    best: int = 0
    mode: Literal["min", "max"] = "min"

    def keep(self, commits: Sequence[Commit], *, in_use: Collection[str] = ()) -> tuple[Commit, ...]:
        """Those to keep, in their order: never without the newest, nor without manifests that are being read."""
        newest = commits[-max(self.last, 1) :]
        best = self._ranked(commits)[: self.best]
        return tuple(it for it in commits if it in newest or it in best or it.manifest in in_use)

    def _ranked(self, commits: Sequence[Commit]) -> list[Commit]:
        sign = 1 if self.mode == "min" else -1
        scored = [(sign * it.metric, it) for it in commits if it.metric is not None and isfinite(it.metric)]
        return [it for _, it in sorted(scored, key=lambda pair: pair[0])]  # stable: of equals, the earlier
