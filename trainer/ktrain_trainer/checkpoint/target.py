"""Where a restored checkpoint goes: the tensors of a model and an optimizer, checked against the manifest's names."""

from collections.abc import Iterable, Mapping

from torch import Tensor, nn
from torch.optim import Optimizer

from ktrain.checkpoints.manifest import Manifest
from ktrain.errors import CheckpointMismatchError
from ktrain_trainer.checkpoint.optimizer import Rebuilt, install, rebuild
from ktrain_trainer.checkpoint.state import EXTRA, MODEL, model_tensors, parameter_names

_SHOWN = 5


class Target:
    """Model, optimizer and extra tensors that are to be restored."""

    def __init__(
        self, model: nn.Module, optimizer: Optimizer | None = None, extra: Mapping[str, Tensor] | None = None
    ) -> None:
        self._model, self._optimizer = model, optimizer
        self._extra = {f"{EXTRA}{name}": tensor for name, tensor in (extra or {}).items()}
        self._rebuilt: Rebuilt | None = None

    def describe(self, manifest: Manifest) -> dict[str, Tensor]:
        """The tensors to fill; CheckpointMismatchError when names differ. Changes nothing that is live."""
        tensors = self.describe_model(manifest) | self._extra
        if self._optimizer is not None:
            self._rebuilt = rebuild(self._optimizer, parameter_names(self._model), manifest)
            tensors |= self._rebuilt.tensors
        return tensors

    def describe_model(self, manifest: Manifest) -> dict[str, Tensor]:
        """The model's tensors alone."""
        tensors, aliases, _ = model_tensors(self._model)
        stored = {name for name in (*manifest.tensors, *manifest.aliases) if name.startswith(MODEL)}
        check_names(stored, tensors.keys() | aliases.keys())
        return tensors

    def install(self, manifest: Manifest) -> None:
        """Hands the filled optimizer state over."""
        if self._optimizer is not None:
            assert self._rebuilt is not None
            install(self._optimizer, parameter_names(self._model), manifest, self._rebuilt)


def check_names(stored: Iterable[str], live: Iterable[str]) -> None:
    """Refuses a checkpoint of another model."""
    missing, unexpected = sorted(set(live) - set(stored)), sorted(set(stored) - set(live))
    faults = [f"it lacks {_some(missing)}"] if missing else []
    faults += [f"it has {_some(unexpected)}, which the model has not"] if unexpected else []
    if faults:
        raise CheckpointMismatchError(
            f"the checkpoint is of another model: {' and '.join(faults)}; a changed model needs a new run"
        )


def _some(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
