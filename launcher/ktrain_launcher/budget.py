"""How many more failures the ranks of this pod may have, and how long to wait before the next try."""

from dataclasses import dataclass, replace
from datetime import timedelta

from ktrain.spec.platform import Restart


@dataclass(frozen=True, slots=True)
class Budget:
    """Failures since the last commit, against spec.restart.inPlace."""

    limit: int
    base: timedelta
    cap: timedelta
    spent: int = 0
    commit: int = -1

    @classmethod
    def of(cls, restart: Restart) -> "Budget":
        """The full budget of this spec."""
        return cls(limit=restart.in_place, base=restart.backoff.base, cap=restart.backoff.cap)

    def after_commit(self, step: int) -> "Budget":
        """A commit that is newer than the last one seen gives everything back."""
        return replace(self, spent=0, commit=step) if step > self.commit else self

    def after_failure(self) -> "Budget":
        """One less."""
        return replace(self, spent=self.spent + 1)

    @property
    def left(self) -> int:
        """Failures that may still happen."""
        return self.limit - self.spent

    @property
    def pause(self) -> timedelta:
        """None before the first try, since most failures come alone; then base, doubled up to cap."""
        if self.spent < 2:
            return timedelta(0)
        return min(self.cap, self.base * float(2 ** min(self.spent - 2, 30)))
