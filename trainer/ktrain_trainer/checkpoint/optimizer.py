"""Optimizer state by parameter name: taken without a step, put back without one."""

import inspect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import Optimizer

from ktrain.checkpoints.manifest import Manifest, TensorEntry
from ktrain.errors import CheckpointError, CheckpointMismatchError
from ktrain_trainer.checkpoint.scalars import pack, unpack
from ktrain_trainer.checkpoint.sharding import dtype_name

OPTIM: Final = "optim."
LR_SCALE: Final = "lr_scale"
"""In an optimizer's group: its factor of the base rate, which is the spec's."""
_NO_STATE: Final = {"params", "param_names", "initial_lr", LR_SCALE}  # of the group itself and of schedulers


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """State to be: tensors to fill by their name in the manifest, and for each parameter its new state."""

    tensors: dict[str, Tensor]
    states: list[tuple[Tensor, dict[str, Any]]]


def collect_optimizer(
    optimizer: Optimizer, names: Mapping[int, str]
) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """State tensors, other state values, and a record of class and groups."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for parameter, _ in _parameters(optimizer):
        name = _name(parameter, names)
        for key, value in optimizer.state.get(parameter, {}).items():
            full = _full(name, key)
            if isinstance(value, Tensor):
                tensors[full] = value
            else:
                values[full] = pack(value, full)
    return tensors, values, {"class": type(optimizer).__qualname__, "groups": _record_groups(optimizer, names)}


def rebuild(optimizer: Optimizer, names: Mapping[int, str], manifest: Manifest) -> Rebuilt:
    """The state that the manifest describes, in live tensors where they fit and new ones elsewhere; changes nothing yet."""
    _check_class(optimizer, manifest)
    stored = _by_parameter(manifest)
    tensors: dict[str, Tensor] = {}
    states: list[tuple[Tensor, dict[str, Any]]] = []
    for parameter, group in _parameters(optimizer):
        entries = stored.get(_name(parameter, names), {})
        live = optimizer.state.get(parameter, {})
        state: dict[str, Any] = {}
        for key, full in entries.items():
            entry = manifest.tensors.get(full)
            if entry is None:
                state[key] = unpack(manifest.values[full])
            else:
                fits = _fits(live.get(key), entry)
                state[key] = tensors[full] = live[key] if fits else _fresh(parameter, key, entry, group)
        states.append((parameter, state))
    return Rebuilt(tensors, states)


def install(optimizer: Optimizer, names: Mapping[int, str], manifest: Manifest, rebuilt: Rebuilt) -> None:
    """Makes the rebuilt state the optimizer's own, and puts back what groups hold beside hyperparameters."""
    for parameter, state in rebuilt.states:
        if state:
            optimizer.state[parameter] = state
        else:
            optimizer.state.pop(parameter, None)
    _restore_groups(optimizer, names, manifest)


def _parameters(optimizer: Optimizer) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            yield parameter, group


def _name(parameter: Tensor, names: Mapping[int, str]) -> str:
    name = names.get(id(parameter))
    if name is None:
        raise CheckpointError(
            f"the optimizer has a parameter of shape {tuple(parameter.shape)} that is not in the model; "
            "make the optimizer from the parameters of the model that is saved"
        )
    return name


def _full(name: str, key: Any) -> str:
    if not isinstance(key, str) or not key or "." in key:
        raise CheckpointError(f"the optimizer's state of {name} has the key {key!r}; expected a name without dots")
    return f"{OPTIM}{name}.{key}"


def _by_parameter(manifest: Manifest) -> dict[str, dict[str, str]]:
    """Parameter name to its keys and their full names, in a fixed order."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for full in sorted((*manifest.tensors, *manifest.values)):
        if full.startswith(OPTIM):
            name, _, key = full.removeprefix(OPTIM).rpartition(".")
            found[name][key] = full
    return found


def _fits(live: Any, entry: TensorEntry) -> bool:
    return isinstance(live, Tensor) and tuple(live.shape) == entry.shape and dtype_name(live) == entry.dtype


def _fresh(parameter: Tensor, key: str, entry: TensorEntry, group: Mapping[str, Any]) -> Tensor:
    dtype: torch.dtype = getattr(torch, entry.dtype)
    if key == "step":  # torch keeps it on the host, unless a kernel reads it
        on_device = group.get("capturable") or group.get("fused")
        return torch.zeros(entry.shape, dtype=dtype, device=parameter.device if on_device else "cpu")
    if entry.shape == tuple(parameter.shape):
        return torch.zeros_like(parameter, dtype=dtype, requires_grad=False)
    return torch.zeros(entry.shape, dtype=dtype, device=parameter.device)


def _check_class(optimizer: Optimizer, manifest: Manifest) -> None:
    found, ours = manifest.optimizer, type(optimizer).__qualname__
    if found is None:
        raise CheckpointMismatchError(
            "the checkpoint holds no optimizer state; to begin from its weights alone use initFrom"
        )
    if found.get("class") != ours:
        raise CheckpointMismatchError(
            f"the checkpoint holds the state of {found.get('class')}, this job's optimizer is {ours}; "
            "use the same optimizer, or begin from the weights alone with initFrom"
        )


def _record_groups(optimizer: Optimizer, names: Mapping[int, str]) -> list[dict[str, Any]]:
    return [
        {
            "params": [_name(parameter, names) for parameter in group["params"]],
            "values": {key: _recorded(value) for key, value in group.items() if key not in {"params", "param_names"}},
        }
        for group in optimizer.param_groups
    ]


def _recorded(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 else repr(tuple(value.shape))
    try:
        return pack(value, "")
    except CheckpointError:  # a hyperparameter such as a function: for the record only
        return type(value).__name__


def _restore_groups(optimizer: Optimizer, names: Mapping[int, str], manifest: Manifest) -> None:
    # Hyperparameters are the spec's: they follow from progress, not from the past. What the constructor does not
    # take is state that some optimizers (schedule-free) keep in the group.
    parts: Iterable[Optimizer] = getattr(optimizer, "parts", (optimizer,))
    skipped = _NO_STATE.union(*(_constructor_arguments(type(part)) for part in parts))
    recorded = {name: it["values"] for it in (manifest.optimizer or {}).get("groups", []) for name in it["params"]}
    for group in optimizer.param_groups:
        values: dict[str, Any] = next(
            (recorded[names[id(it)]] for it in group["params"] if names[id(it)] in recorded), {}
        )
        for key in (group.keys() & values.keys()) - skipped:
            _put(group, key, unpack(values[key]))


def _put(group: dict[str, Any], key: str, value: Any) -> None:
    live = group[key]
    if isinstance(live, Tensor):
        live.fill_(value)
    else:
        group[key] = tuple(value) if isinstance(live, tuple) else value


def _constructor_arguments(kind: type) -> set[str]:
    return {name for base in kind.__mro__ if "__init__" in vars(base) for name in inspect.signature(base).parameters}
