"""What the exit codes of ranks mean: who failed first, and what the pod does then."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from ktrain.names import PERMANENT, Exit

CAUSES: Final[dict[int, str]] = {
    Exit.DONE: "done",
    Exit.SPEC: "spec",
    Exit.BUILD: "build",
    Exit.DATA: "data",
    Exit.EXHAUSTED: "exhausted",
    Exit.USER: "user",
    Exit.FULL: "full",
    Exit.NONFINITE: "nonfinite",
    Exit.KILLED: "killed",
    Exit.PREEMPTED: "preempted",
    Exit.PEER: "peer",
    Exit.STORAGE: "storage",
    Exit.HANG: "hang",
    Exit.MEMBERSHIP: "membership",
}
CRASHED: Final = "crashed"  # any other code: SIGSEGV, SIGABRT, …

AGREED: Final = frozenset({Exit.PREEMPTED, Exit.MEMBERSHIP})  # all ranks stop at one step: costs nothing
ECHOES: Final = (Exit.PREEMPTED, Exit.MEMBERSHIP, Exit.PEER)
"""Codes of ranks that nothing was wrong with; the first says most about what was."""

SETTLE: Final = timedelta(seconds=1)
"""How long the others of this pod may take to leave after a real failure, so that their last words are kept."""

SETTLE_ECHO: Final = timedelta(seconds=5)
"""A rank that lost a peer may leave before the culprit has finished dying: wait for the real cause."""

_SAID_BY_RANKS: Final = PERMANENT - {Exit.EXHAUSTED}  # only launchers give up; a program's own 69 means something else

_LOST_PEER: Final = re.compile(
    r"Connection (closed|reset) by peer|Broken pipe|Connection refused|Socket Timeout|recvBytes|"
    r"DistNetworkError|DistBackendError|NCCL (error|WARN)|ncclSystemError|ncclRemoteError|ncclInternalError|"
    r"uncorrectable ECC|CUDA error: (unspecified launch failure|an illegal instruction|hardware|device-side link)|"
    r"Stale file handle|Transport endpoint is not connected"
)


@dataclass(frozen=True, slots=True)
class Ended:
    """A rank that has left."""

    rank: int
    code: int  # as a pod would say it: a signal is 128 + its number
    at: float  # monotonic seconds
    by_signal: bool = False
    message: str = ""


class Action(StrEnum):
    """What the pod does next."""

    DONE = "done"  # exit 0
    RESTART = "restart"  # new ranks in this pod
    FAIL = "fail"  # the whole job ends with this code
    LEAVE = "leave"  # this pod ends with this code and is made again
    STOP = "stop"  # we were told to go


@dataclass(frozen=True, slots=True)
class Decision:
    """The action, the code for the pod if it ends, who is to blame, and whether the budgets pay: the pod's, the job's."""

    action: Action
    code: int = Exit.DONE
    first: Ended | None = None
    is_counted: bool = False

    @property
    def cause(self) -> str:
        """One word of a closed set, for metrics and records."""
        return cause_of(self.first.code if self.first else self.code)


def code_of(returncode: int, last_words: Sequence[str] = ()) -> int:
    """The code that tells the kind of failure; `last_words` decide for a program that knows none of our codes."""
    if returncode < 0:
        return 128 - returncode
    if returncode == 0 or returncode >= 128 or returncode in _SAID_BY_RANKS:
        return returncode
    # A plain script dies with 1 of a bug and of a lost peer alike, and only its traceback tells which.
    return Exit.PEER if any(map(_LOST_PEER.search, last_words)) else Exit.USER


def cause_of(code: int) -> str:
    """One word for a code."""
    return CAUSES.get(code, CRASHED)


def is_failure(code: int) -> bool:
    """Whether it is one that another try may help against: neither success, nor an agreed stop, nor for good."""
    return code != Exit.DONE and code not in PERMANENT and code not in AGREED


def are_blameless(ended: Iterable[Ended]) -> bool:
    """Whether nothing was wrong with any of them: they were done, agreed to stop, or lost one who did."""
    return not any(rank.code and _is_real(rank) for rank in ended)


def first_failure(ended: Iterable[Ended]) -> Ended | None:
    """Who began it: a real failure before those that only felt it, then the earliest."""
    failed = [rank for rank in ended if rank.code]
    return min(failed, key=_blame, default=None)


def patience(ended: Iterable[Ended], *, grace: timedelta) -> timedelta:
    """How long the ranks that still run may take to leave by themselves."""
    failed = [rank for rank in ended if rank.code]
    if any(_is_real(rank) for rank in failed):
        return SETTLE
    return grace if any(rank.code in AGREED for rank in failed) else SETTLE_ECHO


def decide(
    ended: Sequence[Ended],
    *,
    budget_left: int,
    has_moved: bool,
    is_signalled: bool = False,
    is_done: bool = False,
    is_blameless: bool = False,
) -> Decision:
    """What now; `has_moved`: steps since the last restart, `is_blameless`: another pod has shown the real cause."""
    first = first_failure(ended)
    if is_done or (first is None and not is_signalled):
        return Decision(Action.DONE)
    if is_signalled:
        return Decision(Action.STOP, Exit.PREEMPTED, first)
    assert first is not None
    if first.code in PERMANENT:
        return Decision(Action.FAIL, first.code, first)
    # An agreed stop is free, but a gang that only stops and never steps would go round for ever.
    is_counted = not is_blameless and not (first.code in AGREED and has_moved)
    if is_counted and budget_left <= 0:
        return Decision(Action.LEAVE, first.code, first, is_counted)
    return Decision(Action.RESTART, first.code, first, is_counted)


def _is_real(rank: Ended) -> bool:
    """With a signal: of a rank that was told to go before it could hear, of a launcher that was killed."""
    return rank.code not in ECHOES or (rank.code in {Exit.PREEMPTED, Exit.PEER} and rank.by_signal)


def _blame(rank: Ended) -> tuple[int, float, bool, int]:
    order = 1 + ECHOES.index(Exit(rank.code)) if rank.code in ECHOES else 0
    return order, rank.at, rank.code not in PERMANENT, rank.rank
