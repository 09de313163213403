"""How many more failures the ranks of this pod may have before the pod itself is made again."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Budget:
    """Failures since the last commit, against spec.restart.inPlace; gate.py keeps the budget of the whole job."""

    limit: int
    spent: int = 0
    commit: int = -1

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
