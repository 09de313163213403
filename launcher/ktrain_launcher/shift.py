"""What one epoch adds to the job's account, as rank 0 has told it. Pure."""

from dataclasses import dataclass, replace
from typing import Final

from ktrain.goodput import PRODUCTIVE, Account, Doing, Reason
from ktrain.snapshot import Snapshot

_REASONS: Final[dict[str, Reason]] = {
    "start": "start", "restore": "restore", "data": "data", "eval": "eval", "checkpoint": "checkpoint", "stop": "checkpoint", "done": "start",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shift:
    """The ranks of one epoch."""

    tells: bool  # whether these ranks tell what they do: a script need not

    def added_to(
        self, account: Account, snapshot: Snapshot | None, until: float, tail: Reason | None = None
    ) -> Account:
        """The account at `until`. tail: for what they have ended, and what the time since rank 0's last word was."""
        if snapshot is None or not snapshot.phase_seconds:
            return account.spend("start", until) if self.tells else _work(account, until, 0, 0)
        account = account.spend("start", snapshot.began_at)
        if snapshot.phase not in {"start", "restore"}:
            account = account.resolve(snapshot.restored_step)
        account = _phases(account, snapshot)
        if tail and snapshot.phase != "done":
            return account.spend(tail, until)
        if snapshot.phase == "train":
            return _work(account, until, *_steps(snapshot))
        return account.spend(_reason(snapshot.phase), until)

    def doing(self, snapshot: Snapshot | None) -> Doing:
        """What its time is spent on now."""
        if snapshot is None or not snapshot.phase_seconds:
            return "start" if self.tells else "train"
        return "train" if snapshot.phase == "train" else _reason(snapshot.phase)


def _phases(account: Account, snapshot: Snapshot) -> Account:
    sums: dict[str, float] = dict.fromkeys(_REASONS.values(), 0.0)
    for phase, seconds in snapshot.phase_seconds.items():
        if phase != "train":
            sums[_reason(phase)] += seconds
    train = snapshot.phase_seconds.get("train", 0.0)
    waited = min(train, snapshot.data_wait_seconds)
    committed = min(train - waited, snapshot.committed_seconds)
    sums["data"] += waited
    end = account.until + sum(snapshot.phase_seconds.values())
    left = account.add({**sums, PRODUCTIVE: committed}).work(train - waited - committed, *_steps(snapshot))
    return replace(left, until=end)


def _reason(phase: str) -> Reason:
    return _REASONS.get(phase, "start")  # also for one that only a later ktrain knows


def _steps(snapshot: Snapshot) -> tuple[int, int]:
    return max(snapshot.checkpoint_step, snapshot.restored_step), snapshot.step


def _work(account: Account, until: float, begin: int, end: int) -> Account:
    more = max(0.0, until - account.until)
    return replace(account.work(more, begin, end), until=max(account.until, until))
