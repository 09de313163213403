"""What a running pod can be asked, and what it answers: words of an annotation, and of a document in storage."""

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from ktrain.names import DIR_ANSWERS, DIR_PROFILES

_FORM: Final = re.compile(r"(?P<ask>[a-z]+) (?P<id>[0-9a-f]{8,32})( (?P<rank>[0-9]{1,7}))?")


class Ask(StrEnum):
    """What can be asked."""

    CHECKPOINT = "checkpoint"  # save now, and go on
    STACKS = "stacks"  # where does each rank stand
    PROFILE = "profile"  # record the next steps of one rank
    STOP = "stop"  # save, end the ranks, and wait without them


@dataclass(frozen=True, slots=True)
class Request:
    """One question, the value of the annotation `ktrain.dev/request`: `checkpoint 1f0c…`, `profile 1f0c… 3`."""

    ask: Ask
    id: str
    rank: int | None = None  # who is meant, where that is one

    @classmethod
    def new(cls, ask: Ask, *, rank: int | None = None) -> Self:
        """With an id that nothing else has."""
        return cls(ask, uuid.uuid4().hex[:16], rank)

    def encode(self) -> str:
        """The annotation's value."""
        return f"{self.ask} {self.id}" + ("" if self.rank is None else f" {self.rank}")

    @classmethod
    def decode(cls, text: str) -> Self:
        """Reads it; raises ValueError."""
        found = _FORM.fullmatch(text.strip())
        if not found or (found["rank"] and found["ask"] != Ask.PROFILE):
            raise ValueError(f"{text[:80]!r} is no request; write one of {', '.join(Ask)}, and an id in hex")
        rank = found["rank"]
        return cls(Ask(found["ask"]), found["id"], int(rank) if rank else None)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one launcher did about a request."""

    id: str
    ask: str
    node: int
    ok: bool
    message: str
    step: int | None = None  # of the commit, for checkpoint and stop; where a profile ended
    stacks: Mapping[str, list[str]] = field(default_factory=dict)  # by rank

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """From JSON of this version or a newer one."""
        return cls(**{name: value for name, value in document.items() if name in cls.__dataclass_fields__})


def answer_key(request_id: str, node: int) -> str:
    """Where the launcher of this node answers, below the run."""
    return f"{DIR_ANSWERS}/{request_id}-node{node}.json"


def profile_key(step: int, rank: int) -> str:
    """What the keys of a rank's profile, which ended with this step, begin with; a dot and the kind of file follow."""
    return f"{DIR_PROFILES}/step-{step:09d}/rank-{rank:05d}"


def encode_answer(answer: Answer) -> bytes:
    """The object in storage."""
    return json.dumps(answer.document(), indent=1).encode() + b"\n"
