"""The data of a run's history, and its JSON."""

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ktrain.errors import CheckpointError, CheckpointMismatchError

FORMAT: Final = 1
_PREFIX: Final = re.compile(r"a(\d{4,})-e(\d{4,})")
_STRICT: Final = ConfigDict(extra="forbid", allow_inf_nan=False)

Count = Annotated[int, Field(ge=0, le=2**62)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class Token:
    """Who may write: an attempt, given at submit, and an epoch of it, claimed at each rendezvous."""

    attempt: int
    epoch: int

    @property
    def prefix(self) -> str:
        """The folder in the run that belongs to this epoch alone: `a0001-e0002`."""
        return f"a{self.attempt:04d}-e{self.epoch:04d}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a prefix; raises ValueError."""
        match = _PREFIX.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no epoch; it looks like a0001-e0002")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class Commit:
    """One whole checkpoint: where its manifest is, and the hash that the manifest must have."""

    step: Count
    manifest: Annotated[str, Field(min_length=1, max_length=1024)]
    sha256: Sha256
    attempt: Count
    epoch: Count
    size_bytes: Count
    created: float
    metric: float | None = None

    __pydantic_config__ = _STRICT

    @property
    def token(self) -> Token:
        """The epoch that wrote it."""
        return Token(self.attempt, self.epoch)


@dataclass(frozen=True, slots=True)
class Head:
    """The one object of a run that every claim and every commit must win."""

    format: int
    attempt: Count
    epoch: Count
    commits: tuple[Commit, ...] = ()  # the newest last
    done: bool = False
    serial: Count = 0  # makes each content unique, so that its tag on S3, a hash, changes with every write

    __pydantic_config__ = _STRICT

    @property
    def newest(self) -> Commit | None:
        """The last commit, None before the first."""
        return self.commits[-1] if self.commits else None

    @property
    def token(self) -> Token:
        """The epoch that may write."""
        return Token(self.attempt, self.epoch)


_HEAD: Final = TypeAdapter(Head)


def encode_head(head: Head) -> bytes:
    """HEAD's JSON."""
    return _HEAD.dump_json(head, indent=1) + b"\n"


def decode_head(data: bytes, where: str) -> Head:
    """Reads HEAD's JSON; `where` names the object in errors."""
    check_format(parse_object(data, where), where)
    try:
        return _HEAD.validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"{where} is damaged: {field}: {first['msg'].lower()}") from error


def parse_object(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object from storage; anything else is damage."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where} is damaged: it is not JSON ({len(data)} bytes)") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{where} is damaged: expected a JSON object, found {type(document).__name__}")
    return document


def check_format(document: dict[str, Any], where: str, newest: int = FORMAT) -> None:
    """Refuses documents of a later ktrain, which may mean things that this one does not know."""
    found = document.get("format")
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise CheckpointError(f"{where} is damaged: its format is {found!r}, expected a number from 1 to {newest}")
    if found > newest:
        raise CheckpointMismatchError(
            f"{where} has format {found}, this ktrain reads up to format {newest}; use the ktrain that wrote it or a newer one"
        )
