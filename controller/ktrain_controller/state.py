"""What the controller remembers of a job, in one annotation of it: written at decisions only, read by whoever leads next."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self

import msgspec

FORMAT: Final = 1
MAX_DECISIONS: Final = 8
MAX_INCIDENTS: Final = 200
MAX_TEXT: Final = 300
END_OF_TIME: Final = 1e11
"""Unix seconds; beyond it there are no dates, so that no Event could tell of it."""


@dataclass(frozen=True, slots=True)
class Intent:
    """Pods that have to go, written down before the first of them is deleted: the next leader finishes it."""

    attempt: int  # that their successors carry
    reason: str
    uids: tuple[str, ...]
    force: tuple[str, ...] = ()  # of these, the ones that nobody else can end

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """From JSON."""
        return cls(
            int(document["attempt"]), str(document["reason"]), tuple(document["uids"]), tuple(document.get("force", ()))
        )


@dataclass(frozen=True, slots=True)
class Incident:
    """One breakdown of the gang, however many of its pods it ended."""

    at: float
    is_charged: bool
    what: str

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """From JSON."""
        return cls(_time(document["at"]), bool(document["is_charged"]), str(document["what"]))


@dataclass(frozen=True, slots=True)
class Release:
    """The gang's resources, given back until then: the job is suspended, and not by a user."""

    until: float
    reason: str
    since: float = 0.0

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """From JSON."""
        return cls(_time(document["until"]), str(document["reason"]), _time(document.get("since", 0)))

    @property
    def mark(self) -> str:
        """Which of the job's pauses it is, as the Workload that it made inactive says."""
        return repr(self.since)


@dataclass(frozen=True, slots=True)
class Past:
    """A decision, for whoever asks what happened."""

    at: float
    policy: str
    reason: str
    message: str

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """From JSON."""
        return cls(
            _time(document["at"]), str(document["policy"]), str(document["reason"]), str(document.get("message", ""))
        )


@dataclass(frozen=True, slots=True)
class State:
    """Everything that has to survive the controller."""

    intent: Intent | None = None
    incidents: tuple[Incident, ...] = ()
    commit: int = -1  # newest step that was known to be committed at the last incident
    release: Release | None = None
    releases: tuple[float, ...] = ()  # when the gang was released before, the newest last
    avoid: Mapping[str, float] = field(default_factory=dict)  # node → until when
    asked: Mapping[str, float] = field(default_factory=dict)  # what was asked of the launchers, and when
    scaled_at: float = 0.0
    started: float = 0.0  # the job's first start; the operator resets its own at each resume
    decisions: tuple[Past, ...] = ()  # the newest last

    def encode(self) -> str:
        """The annotation's value."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, separators=(",", ":"), ensure_ascii=False)
        # The words of user code may have halves of characters in them, which no reader takes.
        return text.encode(errors="replace").decode()

    def avoided(self, now: float) -> tuple[str, ...]:
        """Nodes that broke, and not too long ago."""
        return tuple(sorted(node for node, until in self.avoid.items() if until > now))

    def note(self, past: Past) -> Self:
        """With one more decision."""
        short = replace(past, message=past.message[:MAX_TEXT])
        return replace(self, decisions=(*self.decisions, short)[-MAX_DECISIONS:])


class NewerStateError(ValueError):
    """Written by a later controller: only that one may decide."""


def read_state(text: str) -> State:
    """Reads the annotation; raises ValueError when it is damaged, NewerStateError when it is not ours to read."""
    if not text:
        return State()
    try:
        return _read(msgspec.json.decode(text))  # which takes no NaN, no infinity and no half of a character
    except (TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"it has no {error}" if isinstance(error, KeyError) else str(error)) from error


def _read(document: Mapping[str, Any]) -> State:
    if document.get("format", FORMAT) > FORMAT:
        raise NewerStateError(f"format {document['format']} is of a later ktrain; this one reads up to {FORMAT}")
    intent, release = document.get("intent"), document.get("release")
    return State(
        intent=Intent.read(intent) if intent else None,
        incidents=tuple(Incident.read(it) for it in document.get("incidents", ())),
        commit=int(document.get("commit", -1)),
        release=Release.read(release) if release else None,
        releases=tuple(_time(at) for at in document.get("releases", ())),
        avoid={str(name): _time(until) for name, until in document.get("avoid", {}).items()},
        asked={str(name): _time(at) for name, at in document.get("asked", {}).items()},
        scaled_at=_time(document.get("scaled_at", 0)),
        started=_time(document.get("started", 0)),
        decisions=tuple(Past.read(it) for it in document.get("decisions", ())),
    )


def _time(value: Any) -> float:
    found = float(value)
    if not 0 <= found < END_OF_TIME:
        raise ValueError(f"{found:g} is no time")
    return found
