"""What storage keeps of earlier epochs, as far as it can be read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ktrain import names
from ktrain.errors import NotFound, StorageError
from ktrain.history import Token
from ktrain.names import Exit
from ktrain.storage import Storage
from ktrain_launcher.exits import cause_of
from ktrain_launcher.parking import Past

MAX_FAULTS: Final = 3
"""Storage that fails so often has gone away, and each further try would take as long."""

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Key:
    """One record: whose it is, and until when it was written."""

    key: str
    token: Token
    modified: datetime

    @property
    def is_epoch(self) -> bool:
        """Whether it is of an epoch that was begun, and not of one that was not to be."""
        return self.key.endswith(f"/{self.token.prefix}.json")


class _First(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    rank: int
    code: int
    message: str


class _Record(BaseModel):
    """What Journal writes; a later ktrain may write more."""

    model_config = ConfigDict(frozen=True, strict=True)

    started: Seconds
    ended: Seconds | None
    cause: str | None
    counted: bool | None = None
    first_failure: _First | None


def list_keys(run: Storage) -> list[Key]:
    """All records, in the order of their epochs; the keys' own order ends at epoch 9999."""
    found = (_key(stat.key, stat.modified) for stat in run.list(f"{names.DIR_EPOCHS}/"))
    return sorted((key for key in found if key), key=lambda it: (it.token, it.modified))


def needed(keys: Sequence[Key], *, commit: Token | None, since: float, limit: int) -> list[Key]:
    """Those that can matter: after the newest commit, and not over before `since`; of them the newest."""
    newer = [key for key in keys if commit is None or key.token > commit]
    begin = datetime.fromtimestamp(max(0.0, since), UTC)
    # An epoch that never told its end was written last at its start, and lasted until the next one's.
    overs = [key.modified for key in newer[1:]] + [None]
    return [key for key, over in zip(newer, overs, strict=False) if over is None or over >= begin][-limit:]


def read(run: Storage, keys: Sequence[Key], *, is_stopped: Callable[[], bool]) -> tuple[list[Past], int]:
    """The records, and how many could not be read; fewer when storage goes away or we are told to stop."""
    found: list[Past] = []
    unreadable = faults = 0
    for key in reversed(keys):
        if is_stopped() or faults == MAX_FAULTS:
            break
        try:
            found.append(_past(key.token, run.get(key.key)[0]))
        except (NotFound, ValidationError):
            unreadable += 1
        except StorageError:
            unreadable, faults = unreadable + 1, faults + 1
    return found, unreadable


def _past(token: Token, data: bytes) -> Past:
    record = _Record.model_validate_json(data)
    first = record.first_failure
    return Past(
        token=token,
        started=record.started,
        ended=record.ended,
        is_counted=bool(record.counted),
        is_last=record.cause == cause_of(Exit.EXHAUSTED),
        rank=first.rank if first and first.rank >= 0 else None,
        message=_told(first) if first else "",
    )


def _told(first: _First) -> str:
    return first.message or f"rank {first.rank} exit {first.code}"


def _key(key: str, modified: datetime) -> Key | None:
    """`state/epochs/a0001-e0002.json`, or with more words before the dot."""
    stem, dot, _ = key.removeprefix(f"{names.DIR_EPOCHS}/").partition(".json")
    try:
        return Key(key, Token.parse("-".join(stem.split("-")[:2])), modified) if dot else None
    except ValueError:  # not one of ours
        return None
