"""The sinks of a run."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from ktrain import names
from ktrain.errors import BuildError
from ktrain.history import Token
from ktrain.spec.track import Track
from ktrain.storage import Storage
from ktrain_trainer.sinks.base import Sink
from ktrain_trainer.sinks.behind import Behind
from ktrain_trainer.sinks.facts import Facts, Kept
from ktrain_trainer.sinks.jsonl import JsonLines
from ktrain_trainer.sinks.mirror import Mirror
from ktrain_trainer.sinks.tensorboard import TensorBoard

_EXTRAS: Final = {"tensorboard": "track", "mlflow": "mlflow", "wandb": "wandb"}


def open_sinks(
    track: Sequence[Track], storage: Storage, token: Token, *, scratch: Path, facts: Facts | None = None
) -> list[Sink]:
    """JSON lines always; BuildError when a sink's library is missing, SpecError when it is not told where to."""
    sinks: list[Sink] = [JsonLines(storage, token)]
    for it in track:
        if it.mode == "disabled":
            continue
        if it.sink in _EXTRAS and importlib.util.find_spec(it.sink) is None:
            raise BuildError(
                f"trainer.track asks for {it.sink}, which is not installed; "
                f"pip install 'ktrain-operator[{_EXTRAS[it.sink]}]'"
            )
        if it.sink == "tensorboard":
            sinks.append(_tensorboard(storage, token, scratch))
        elif it.sink == "mlflow":
            sinks.append(_mlflow(it, storage, facts or Facts()))
        elif it.sink == "wandb":
            sinks.append(_wandb(it, storage, token, scratch, facts or Facts()))
    return sinks


def _tensorboard(storage: Storage, token: Token, scratch: Path) -> TensorBoard:
    if folder := _here(storage):
        return TensorBoard(folder / names.DIR_TENSORBOARD)
    folder = scratch / names.DIR_TENSORBOARD / token.prefix  # of its own: what an epoch before wrote is there already
    return TensorBoard(folder, Mirror(folder, storage, names.DIR_TENSORBOARD))


def _mlflow(track: Track, storage: Storage, facts: Facts) -> Sink:
    from ktrain_trainer.sinks.mlflow import MlflowRun

    return Behind(MlflowRun(track, Kept(storage, "mlflow"), facts))


def _wandb(track: Track, storage: Storage, token: Token, scratch: Path, facts: Facts) -> Sink:
    from ktrain_trainer.sinks.wandb import WandbRun

    if folder := _here(storage):
        return Behind(WandbRun(track, facts, folder))
    folder = scratch / f"wandb-{token.prefix}"
    return Behind(WandbRun(track, facts, folder, Mirror(folder / names.DIR_WANDB, storage, names.DIR_WANDB)))


def _here(storage: Storage) -> Path | None:
    """The run's folder, where it is one of this machine."""
    local = unquote(storage.url.removeprefix("file://"))
    return Path(local) if local.startswith("/") else None
