"""The sinks of a run."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from ktrain import names
from ktrain.errors import BuildError
from ktrain.history import Token
from ktrain.spec.trainer import Track
from ktrain.storage import Storage
from ktrain_trainer.sinks.base import Sink
from ktrain_trainer.sinks.jsonl import JsonLines
from ktrain_trainer.sinks.tensorboard import TensorBoard


def open_sinks(track: Sequence[Track], storage: Storage, token: Token, *, scratch: Path) -> list[Sink]:
    """JSON lines always; BuildError when a sink's library is missing."""
    sinks: list[Sink] = [JsonLines(storage, token)]
    if any(it.sink == "tensorboard" for it in track):
        if importlib.util.find_spec("tensorboard") is None:
            raise BuildError(
                "trainer.track asks for tensorboard, which is not installed; install ktrain-operator[track]"
            )
        sinks.append(TensorBoard(_folder(storage, scratch)))
    return sinks


def _folder(storage: Storage, scratch: Path) -> Path:
    local = unquote(storage.url.removeprefix("file://"))
    return Path(local) / names.DIR_TENSORBOARD if local.startswith("/") else scratch / names.DIR_TENSORBOARD
