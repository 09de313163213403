"""Reading the samples of a micro-batch, and what happens when one of them cannot be read."""

import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from ktrain.errors import DataError
from ktrain.spec.transform import OnError
from ktrain_trainer import rng
from ktrain_trainer.columns import place
from ktrain_trainer.plan import Micro, Permutation

TRIES: Final = 3
STAND_INS: Final = 10
_PAUSE_SECONDS: Final = 0.2


def read(source: Any, micro: Micro, *, seed: int, on_error: OnError) -> tuple[list[Any], tuple[str, ...]]:
    """The samples in order, and what is to be told of those that others stand in for."""
    many = getattr(source, "__getitems__", None)
    if on_error == "raise":
        return (many(list(micro.samples)) if many else [source[index] for index in micro.samples]), ()
    samples, skipped = [], []
    for at, index in enumerate(micro.samples):
        try:
            samples.append(_patiently(source, index) if on_error == "retry" else source[index])
        except Exception as error:
            told = _told(source, index, error)
            if on_error == "retry":
                raise DataError(f"{told} ({TRIES} tries)") from error
            samples.append(_stand_in(source, index, rng.key(seed, rng.REPLACE, micro.position + at), told))
            skipped.append(told)
    return samples, tuple(skipped)


def _patiently(source: Any, index: int, sleep: Callable[[float], None] = time.sleep) -> Any:
    for number in range(TRIES - 1):
        try:
            return source[index]
        except Exception:  # noqa: BLE001  -- the last try raises it
            sleep(_PAUSE_SECONDS * 4**number)
    return source[index]


def _stand_in(source: Any, index: int, key: int, told: str) -> Any:
    """Another sample, by the position in the stream: the same on whatever rank it is read."""
    peers = source.peers(index) if hasattr(source, "peers") else range(len(source))
    order = Permutation(len(peers), key)(np.arange(min(STAND_INS, len(peers)), dtype=np.int64))
    for other in order.tolist():
        try:
            if peers[other] != index:
                return source[peers[other]]
        except Exception:  # noqa: BLE001, S112  -- the next one is tried; the first error is told below
            continue
    raise DataError(f"{told}; nor can any of {len(order)} others that would stand in for it")


def _told(source: Any, index: int, error: Exception) -> str:
    where = place(source, index)
    text = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
    return text if where in text else f"{where} cannot be read: {text}"
