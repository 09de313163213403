"""What the launchers of a job say of themselves, merged into one picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Picture:
    """The job, now."""

    states: tuple[str, ...] = ()  # of the launchers
    ranks: tuple[dict[str, Any], ...] = ()
    restarts: int = 0
    epoch: int = 0
    notes: tuple[str, ...] = ()  # what launchers wait for
    account: dict[str, Any] | None = None  # where the time went, from node 0's launcher

    @property
    def first(self) -> dict[str, Any]:
        """Rank 0's snapshot; empty before it has spoken."""
        return next((rank for rank in self.ranks if rank.get("rank") == 0 and "step" in rank), {})

    @property
    def state(self) -> str:
        """What the job is doing, in a word."""
        for word in ("failed", "stopping", "held", "running", "rendezvous"):
            if word in self.states:
                return word
        return self.states[0] if self.states else "starting"


def merge(answers: Sequence[dict[str, Any]]) -> Picture:
    """Of the launchers' /status pages; those that did not answer are simply not there."""
    ranks = sorted((rank for answer in answers for rank in answer.get("ranks", ())), key=lambda rank: rank["rank"])
    return Picture(
        tuple(answer["state"] for answer in answers),
        tuple(ranks),
        max((answer["restarts"] for answer in answers), default=0),
        max((answer["epoch"] for answer in answers), default=0),
        tuple(note for answer in answers if (note := answer.get("note"))),
        next((account for answer in answers if (account := answer.get("account"))), None),
    )
