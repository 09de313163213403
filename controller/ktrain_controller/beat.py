"""What a job's launcher said of it last, read from its /status page."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Number = (
    Annotated[float, msgspec.Meta(ge=-1, le=2**53)] | None
)  # NaN and infinity are refused, /status has null for them
Word = Annotated[str, msgspec.Meta(max_length=50)]
_MAX_NOTE: Final = 500
MAX_PACES: Final = 4096  # of one gang


@dataclass(frozen=True, slots=True)
class RankBeat:
    """One rank of the launcher's pod."""

    rank: int
    step: int = 0
    phase: str = ""  # empty: it has said nothing yet
    last_step_at: float = 0.0
    step_seconds: float = 0.0  # sum
    data_wait_seconds: float = 0.0  # sum
    is_up: bool = True


@dataclass(frozen=True, slots=True)
class RankPace:
    """One rank of the whole gang, since its epoch began: sums."""

    rank: int
    node: int = 0  # the pod's index
    steps: float = 0.0
    step_seconds: float = 0.0
    peer_wait_seconds: float = 0.0
    data_wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Beat:
    """One job. Times are Unix seconds by our clock; 0 is never."""

    heard_at: float
    state: str  # of the launcher
    epoch: int
    attempt: int
    restarts: int
    step: int
    phase: str
    last_step_at: float
    hang_limit: float | None  # seconds that the launcher itself allows; None when it does not say
    checkpoint_step: int  # newest commit, -1 when none
    checkpoint_at: float
    world_size: int
    note: str = ""  # what is waited for
    ranks: tuple[RankBeat, ...] = ()
    pace: tuple[RankPace, ...] = ()  # by rank; empty where its launcher does not tell

    @property
    def is_saving(self) -> bool:
        """Whether training stands still for a checkpoint."""
        return self.phase == "checkpoint"


class _Rank(msgspec.Struct):
    """Of the launcher's board, which vouches for numbers only: one odd value of one rank must not silence a job."""

    rank: Count
    alive: bool = True
    phase: Word = ""  # stays empty until the rank has spoken
    step: Number = 0
    last_step_at: Number = 0
    step_seconds_sum: Number = 0
    data_wait_seconds: Number = 0
    checkpoint_step: Number = -1
    checkpoint_at: Number = 0


class _Pace(msgspec.Struct):
    """Of the gang, as node 0's launcher has gathered it."""

    rank: Count
    node: Count = 0
    steps: Number = 0
    step_seconds: Number = 0
    peer_wait_seconds: Number = 0
    data_wait_seconds: Number = 0


class _Status(msgspec.Struct):
    state: Word
    epoch: Count
    attempt: Count
    restarts: Count = 0
    world_size: Count = 0
    note: str = ""
    hang_limit: Number = None
    now: Number = None  # by the pod's clock
    ranks: list[_Rank] = []
    pace: Any = None  # read by itself


def read_beat(document: object, now: float) -> Beat:
    """Of this version or a newer one, whose new keys are passed over; ValueError, with a sentence, for all else."""
    try:
        said = msgspec.convert(document, _Status)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"its /status is not a launcher's: {error}") from error
    ranks = sorted(said.ranks, key=lambda it: it.rank)
    chief = next((it for it in ranks if it.phase), _Rank(rank=0))  # all go in step: the first that speaks will do
    ahead = now - said.now if said.now else 0.0
    saved = max(ranks, key=_commit, default=chief)
    return Beat(
        heard_at=now,
        state=said.state,
        epoch=said.epoch,
        attempt=said.attempt,
        restarts=said.restarts,
        step=int(chief.step or 0),
        phase=chief.phase,
        last_step_at=_ours(chief.last_step_at, ahead),
        hang_limit=said.hang_limit,
        checkpoint_step=_commit(saved),
        checkpoint_at=_ours(saved.checkpoint_at, ahead),
        world_size=said.world_size,
        note=said.note[:_MAX_NOTE],
        ranks=tuple(_rank(it, ahead) for it in ranks),
        pace=_pace(said.pace),
    )


def _ours(at: float | None, ahead: float) -> float:
    """A time of the pod's, by our clock, which is so much ahead."""
    return at + ahead if at else 0.0


def _commit(said: _Rank) -> int:
    return -1 if said.checkpoint_step is None else int(said.checkpoint_step)


def _pace(said: object) -> tuple[RankPace, ...]:
    """Nothing where it cannot be read: who only reports must not silence a job."""
    if not isinstance(said, list) or len(said) > MAX_PACES:
        return ()
    try:
        found = {it.rank: it for it in msgspec.convert(said, list[_Pace])}
    except (msgspec.MsgspecError, RecursionError):
        return ()
    return tuple(
        RankPace(
            it.rank, it.node, it.steps or 0.0, it.step_seconds or 0.0, it.peer_wait_seconds or 0.0,
            it.data_wait_seconds or 0.0,
        )
        for _, it in sorted(found.items())
    )  # fmt: skip


def _rank(said: _Rank, ahead: float) -> RankBeat:
    return RankBeat(
        rank=said.rank,
        step=int(said.step or 0),
        phase=said.phase,
        last_step_at=_ours(said.last_step_at, ahead),
        step_seconds=said.step_seconds_sum or 0.0,
        data_wait_seconds=said.data_wait_seconds or 0.0,
        is_up=said.alive,
    )
