"""What a checkpoint holds of a model: parameters and persistent buffers by name, shared ones once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim import Optimizer

from ktrain.errors import CheckpointError
from ktrain_trainer.checkpoint.optimizer import collect_optimizer
from ktrain_trainer.checkpoint.sharding import is_sharded
from ktrain_trainer.parallel.replica import Replica

MODEL: Final = "model."
EXTRA: Final = "extra."
_WRAPPERS: Final = {"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"}


@dataclass(frozen=True, slots=True)
class State:
    """Live tensors under the names that the manifest gives them."""

    tensors: dict[str, Tensor]
    owned: frozenset[str]  # buffers, which may differ between ranks: rank 0's count, as in DDP
    fluid: frozenset[str]  # what a forward pass may change: buffers, and parameters that no optimizer changes
    aliases: dict[str, str]
    values: dict[str, Any]
    optimizer: dict[str, Any] | None


def collect(model: nn.Module, optimizer: Optimizer | None, extra: Mapping[str, Tensor] | None = None) -> State:
    """All that a save writes; copies nothing."""
    tensors, aliases, owned = model_tensors(model)
    fluid = frozenset(name for name, tensor in tensors.items() if not tensor.requires_grad)
    tensors |= {f"{EXTRA}{name}": tensor for name, tensor in (extra or {}).items()}
    if optimizer is None:
        return State(tensors, owned, fluid, aliases, {}, None)
    states, values, record = collect_optimizer(optimizer, parameter_names(model))
    return State(tensors | states, owned, fluid, aliases, values, record)


def model_tensors(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str], frozenset[str]]:
    """The model's tensors, the other names of shared ones, and which are buffers."""
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[int, str] = {}
    buffers = {MODEL + name for name, tensor in _buffers(model) if not is_sharded(tensor)}
    for name, tensor in (*_parameters(model), *_buffers(model)):
        full = MODEL + name
        if (known := first.setdefault(id(tensor), full)) == full:
            tensors[full] = tensor
        else:
            aliases[full] = known
    return tensors, aliases, frozenset(buffers & tensors.keys())


def parameter_names(model: nn.Module) -> dict[int, str]:
    """The name of each parameter by its id; of a shared one the first."""
    names: dict[int, str] = {}
    for name, parameter in _parameters(model):
        names.setdefault(id(parameter), name)
    return names


def _parameters(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in unwrap(model).named_parameters(remove_duplicate=False):
        yield _clean(name), parameter


def _buffers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for prefix, module in unwrap(model).named_modules(remove_duplicate=False):
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            raise CheckpointError(
                f"module {_clean(prefix) or 'model'} ({type(module).__name__}) has extra state, which ktrain cannot store; "
                "keep it in registered buffers instead"
            )
        for name, buffer in module._buffers.items():
            if buffer is not None and name not in module._non_persistent_buffers_set:
                yield _clean(f"{prefix}.{name}" if prefix else name), buffer


def unwrap(model: nn.Module) -> nn.Module:
    """The user's own module, without DDP and torch.compile around it."""
    while True:
        if isinstance(model, DistributedDataParallel | DataParallel | Replica):
            model = model.module
        elif (inner := model._modules.get("_orig_mod")) is not None:
            model = inner
        else:
            return model


def _clean(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)
