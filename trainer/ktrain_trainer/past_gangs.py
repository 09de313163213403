"""How often a run has failed until now, and in how long: from the launchers' records of its gangs."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from ktrain import names
from ktrain.errors import StorageError
from ktrain.history import Token
from ktrain.storage import Storage

MOST_RECORDS: Final = 200  # of the newest: a request each

log = logging.getLogger("ktrain")


def read_past(run: Storage, own: Token, clock: Callable[[], float] = time.time) -> tuple[int, float]:
    """Failures and seconds of all gangs before this one; what cannot be read counts for nothing."""
    try:
        keys = sorted((token, stat.key) for stat in run.list(f"{names.DIR_EPOCHS}/") if (token := _token(stat.key)))
        before = [key for token, key in keys if token < own][-MOST_RECORDS:]
        return tally([*(_record(run, key) for key in before), {"started": clock()}])
    except StorageError as error:
        log.warning("how often this run has failed cannot be read: %s", error)
        return 0, 0.0


def tally(records: Sequence[Mapping[str, Any]]) -> tuple[int, float]:
    """Of gangs in their order, the last of which runs: one that never told its end was killed, launcher and all."""
    failures, seconds = 0, 0.0
    for gang, following in pairwise(records):
        end = gang.get("ended")
        failures += end is None or bool(gang.get("counted"))
        until = following.get("started") if end is None else end
        seconds += max(0.0, float(until or 0) - float(gang.get("started") or until or 0))
    return failures, seconds


def _token(key: str) -> Token | None:
    """Of a gang that trained: records of those that were not to be have more words in their name."""
    try:
        return Token.parse(key.removeprefix(f"{names.DIR_EPOCHS}/").removesuffix(".json"))
    except ValueError:
        return None


def _record(run: Storage, key: str) -> Mapping[str, Any]:
    try:
        found = json.loads(run.get(key)[0])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
