"""The sinks of a run."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from ktrain import names
from ktrain.errors import BuildError
from ktrain.history import Token
from ktrain.spec.record import Track
from ktrain.storage import Storage
from ktrain_trainer.sinks.base import Sink
from ktrain_trainer.sinks.jsonl import JsonLines
from ktrain_trainer.sinks.mirror import Mirror
from ktrain_trainer.sinks.tensorboard import TensorBoard


def open_sinks(track: Sequence[Track], storage: Storage, token: Token, *, scratch: Path) -> list[Sink]:
    """JSON lines always; BuildError when a sink's library is missing."""
    sinks: list[Sink] = [JsonLines(storage, token)]
    if any(it.sink == "tensorboard" for it in track):
        if importlib.util.find_spec("tensorboard") is None:
            raise BuildError(
                "trainer.track asks for tensorboard, which is not installed; install ktrain-operator[track]"
            )
        sinks.append(_tensorboard(storage, token, scratch))
    return sinks


def _tensorboard(storage: Storage, token: Token, scratch: Path) -> TensorBoard:
    local = unquote(storage.url.removeprefix("file://"))
    if local.startswith("/"):
        return TensorBoard(Path(local) / names.DIR_TENSORBOARD)
    folder = scratch / names.DIR_TENSORBOARD / token.prefix  # of its own: what an epoch before wrote is there already
    return TensorBoard(folder, Mirror(folder, storage, names.DIR_TENSORBOARD))
