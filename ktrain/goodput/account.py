"""The account of one job's time. Pure: each function gives a new one.

Steps become productive when a checkpoint holds them, not before: until then they are `pending`, and what a restart does
again of them is lost work. So no sum ever goes back, as Prometheus asks of counters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Reason = Literal[
    "queue", "pull", "start", "rendezvous", "restore", "data", "checkpoint", "lost_work", "eval", "hang", "scale"
]
BADPUT: Final[tuple[Reason, ...]] = get_args(Reason)
PRODUCTIVE: Final = "productive"
Doing = Reason | Literal["train"]

_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Pending:
    """Time in steps that no checkpoint holds yet: those after step `begin`, up to step `end`."""

    seconds: float = 0.0
    begin: int = 0
    end: int = 0

    def kept(self, restored: int) -> float:
        """Seconds of it that lasted, because the gang went on from step `restored`."""
        steps = self.end - self.begin
        share = (restored - self.begin) / steps if steps > 0 else float(restored > self.begin)
        return self.seconds * min(1.0, max(0.0, share))


@dataclass(frozen=True, slots=True)
class Account:
    """Unix seconds and sums of seconds: `seconds` by reason, with `productive`, and `pending` make up all of `begin` to `until`."""

    begin: float  # when the job was submitted
    until: float
    seconds: Mapping[str, float] = field(default_factory=dict)
    pending: Pending = field(default_factory=Pending)
    doing: Doing = "queue"  # at `until`
    is_closed: bool = False  # its launcher has left in order, and nothing is missing

    def spend(self, reason: str, until: float) -> "Account":
        """Everything up to then, for this."""
        spent = max(0.0, until - self.until)
        return replace(self.add({reason: spent}), until=max(self.until, until))

    def add(self, seconds: Mapping[str, float]) -> "Account":
        """More of each, without a change of `until`."""
        sums = dict(self.seconds)
        for reason, more in seconds.items():
            sums[reason] = sums.get(reason, 0.0) + more
        return replace(self, seconds=sums)

    def work(self, seconds: float, begin: int, end: int) -> "Account":
        """Steps that no checkpoint holds; what was pending before must have been resolved, or is added to."""
        before = self.pending
        first = before.begin if before.seconds else begin
        return replace(self, pending=Pending(before.seconds + seconds, first, max(before.end, end)))

    def resolve(self, restored: int) -> "Account":
        """The gang goes on from this step: what it holds was productive, the rest is lost."""
        kept = self.pending.kept(restored)
        lost = self.pending.seconds - kept
        return replace(self.add({PRODUCTIVE: kept, "lost_work": lost}), pending=Pending())

    def settle(self, *, is_done: bool) -> "Account":
        """The job has ended: nothing will be done again."""
        return replace(self.add({PRODUCTIVE if is_done else "lost_work": self.pending.seconds}), pending=Pending())

    @property
    def wall(self) -> float:
        """All of it."""
        return self.until - self.begin

    def encode(self) -> bytes:
        """As it is kept in storage."""
        document = _Document(
            begin=self.begin, until=self.until, seconds=dict(self.seconds), pending=self.pending.seconds,
            pending_begin=self.pending.begin, pending_end=self.pending.end, doing=self.doing,
            is_closed=self.is_closed,
        )  # fmt: skip
        return document.model_dump_json(indent=1).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes | str | Mapping[str, object]) -> "Account":
        """ValueError when it is none."""
        found = _Document.model_validate(data) if isinstance(data, Mapping) else _Document.model_validate_json(data)
        pending = Pending(found.pending, found.pending_begin, found.pending_end)
        return cls(found.begin, found.until, found.seconds, pending, found.doing, found.is_closed)


class _Document(BaseModel):
    """A later ktrain may write more."""

    model_config = ConfigDict(frozen=True)

    begin: _Seconds
    until: _Seconds
    seconds: dict[str, _Seconds]
    pending: _Seconds = 0.0
    pending_begin: int = 0
    pending_end: int = 0
    doing: Doing = "queue"
    is_closed: bool = False
