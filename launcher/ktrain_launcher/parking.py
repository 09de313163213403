"""Whether the gang may begin its next epoch at once, after a pause, or never. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from ktrain.history import Token
from ktrain.spec.platform import Restart
from ktrain.units import counted, format_time

MAX_QUOTED: Final = 500


@dataclass(frozen=True, slots=True)
class Past:
    """An epoch before this one, or a launcher that failed before it had one; times are Unix seconds."""

    token: Token
    started: float
    ended: float | None = None  # None: without a word, because its launcher was killed or its node was lost
    is_counted: bool = False  # of one that ended: whether the job has to answer for it
    is_last: bool = False  # the job was given up here; whoever submitted it again wants it tried again
    rank: int | None = None  # the first that failed
    message: str = ""


@dataclass(frozen=True, slots=True)
class Parking:
    """Failures that count, and what they demand: so many seconds more, or the end."""

    failures: int = 0
    seconds: float = 0.0
    sentence: str = ""  # why the job is given up; empty: it is not
    rank: int | None = None  # that failed last


@dataclass(frozen=True, slots=True)
class _Failure:
    at: float
    past: Past


def decide(past: Sequence[Past], *, commit: Token | None, restart: Restart, born: float, now: float) -> Parking:
    """What the failures since the newest commit demand; whoever asks was born when all of them were over."""
    since = now - restart.window.total_seconds()
    failures = [
        it for it in _failures(past, born, now) if it.at >= since and (commit is None or it.past.token > commit)
    ]
    if not failures:
        return Parking()
    count, last = len(failures), max(failures, key=lambda it: it.at)
    if count > restart.max:
        return Parking(count, sentence=_sentence(count, last.past, restart), rank=last.past.rank)
    pause = restart.pause(count).total_seconds()
    return Parking(count, max(0.0, last.at + pause - now))


def _failures(past: Sequence[Past], born: float, now: float) -> Iterator[_Failure]:
    given_up = max((it.ended for it in past if it.is_last and it.ended is not None), default=float("-inf"))
    ordered = sorted(past, key=lambda it: (it.token, it.started))
    for it, later in pairwise([*ordered, None]):
        if it is None or it.is_last or it.started <= given_up or (it.ended is not None and not it.is_counted):
            continue
        # One that never told its end was over, at the latest, when the next one began.
        over = it.ended if it.ended is not None else max(it.started, later.started if later else born)
        yield _Failure(min(over, now), it)


def _sentence(count: int, last: Past, restart: Restart) -> str:
    said = last.message or f"epoch {last.token.prefix} ended without a word: its launcher was killed (usually out of memory), or its node was lost"  # fmt: skip
    return f"gave up after {counted(count, 'failure')} in {format_time(restart.window)} without a newer checkpoint; the last one: {said[:MAX_QUOTED]}"
