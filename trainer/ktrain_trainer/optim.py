"""The optimizer by name or import path, its parameters in groups."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

from ktrain.errors import BuildError, KtrainError
from ktrain.extras import require
from ktrain.spec.optim import Optim
from ktrain_trainer import build
from ktrain_trainer.checkpoint.optimizer import LR_SCALE
from ktrain_trainer.checkpoint.sharding import is_sharded
from ktrain_trainer.groups import Terms, terms
from ktrain_trainer.muon import MuonWithAdamW, hidden
from ktrain_trainer.uncompiled import spare_compiler

_WHERE: Final = "spec.trainer.optim"


@dataclass(frozen=True, slots=True)
class Kind:
    """Where an optimizer comes from."""

    module: str
    attr: str
    moments: int  # tensors of state for each parameter, about
    has_kernels: bool = False

    def load(self) -> type[torch.optim.Optimizer]:
        """The class; BuildError names the extra that is not installed."""
        module = require(self.module, "optim", "this optimizer", f"{_WHERE}.name")
        found: type[torch.optim.Optimizer] = getattr(module, self.attr)
        return found


OPTIMIZERS: Final[Mapping[str, Kind]] = {
    "adamw": Kind("torch.optim", "AdamW", 2, has_kernels=True),
    "adam": Kind("torch.optim", "Adam", 2, has_kernels=True),
    "sgd": Kind("torch.optim", "SGD", 1, has_kernels=True),
    "lion": Kind("lion_pytorch", "Lion", 1),
    "muon": Kind("torch.optim", "Muon", 1),
    "schedulefree_adamw": Kind("schedulefree", "AdamWScheduleFree", 2),
    "schedulefree_sgd": Kind("schedulefree", "SGDScheduleFree", 1),
}


def make(spec: Optim, model: nn.Module, *, lr: float | None = None) -> torch.optim.Optimizer:
    """The optimizer over all parameters of the model, frozen ones too: checkpoint keys never depend on freezing."""
    spare_compiler()
    lr = spec.lr if lr is None else lr
    params = dict(model.named_parameters())
    if spec.name == "muon" and not spec.use:
        return _muon(spec, model, params, lr)
    kind = build.resolve(spec.use, f"{_WHERE}.use") if spec.use else OPTIMIZERS[spec.name].load()
    build.check_args(kind, {"params": [], "lr": lr, **spec.args}, f"{_WHERE}.args")
    groups = _groups(params, terms(spec, _dims(params), _decay_of(kind, spec.args)), lr)
    made = _call(kind, spec.use or spec.name, groups, {"lr": lr, **_kernel(spec, params), **_rest(spec.args)})
    if not isinstance(made, torch.optim.Optimizer):
        raise BuildError(f"{spec.use} gave a {type(made).__name__}, not a torch Optimizer", f"{_WHERE}.use")
    return made


def moments(spec: Optim) -> int:
    """Tensors of state for each parameter, for an estimate of memory."""
    if spec.use:
        return 2
    return 0 if spec.name == "sgd" and not spec.args.get("momentum") else OPTIMIZERS[spec.name].moments


def _muon(spec: Optim, model: nn.Module, params: Mapping[str, nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """Muon for the hidden matrices, AdamW (args.adamw) for the rest."""
    args = {"adjust_lr_fn": "match_rms_adamw", **spec.args}  # so that one rate does for both
    of_adamw = args.pop("adamw", {})
    if not isinstance(of_adamw, dict):
        raise BuildError(f"adamw is {of_adamw!r}; expected AdamW's arguments by name", f"{_WHERE}.args.adamw")
    build.check_args(torch.optim.Muon, {"params": [], "lr": lr, **args}, f"{_WHERE}.args")
    build.check_args(torch.optim.AdamW, {"params": [], "lr": lr, **of_adamw}, f"{_WHERE}.args.adamw")
    inside = hidden(model)
    made = []
    for kind, own, chosen in (
        (torch.optim.Muon, args, {name: it for name, it in params.items() if name in inside}),
        (torch.optim.AdamW, of_adamw, {name: it for name, it in params.items() if name not in inside}),
    ):
        found = terms(spec, _dims(params), _decay_of(kind, own))
        made.append((_groups(chosen, found, lr), {"lr": lr, **_rest(own)}))
    return _call(MuonWithAdamW, "muon", *made, {"kernel": spec.kernel})  # type: ignore[no-any-return]


def _kernel(spec: Optim, params: Mapping[str, nn.Parameter]) -> dict[str, bool]:
    if spec.use or not OPTIMIZERS[spec.name].has_kernels:
        return {}
    # torch 2.15 cannot step shards with its fused SGD: "_fused_sgd_ does not have a sharding strategy".
    is_broken = spec.name == "sgd" and any(map(is_sharded, params.values()))
    return {"foreach" if is_broken else spec.kernel: True}


def _call(kind: Any, name: str, *args: Any) -> Any:
    *positional, named = args
    try:
        return kind(*positional, **named)
    except KtrainError:
        raise
    except (TypeError, ValueError, AssertionError) as error:
        raise BuildError(f"{name} says: {error or type(error).__name__}", _WHERE) from error


def _dims(params: Mapping[str, nn.Parameter]) -> list[tuple[str, int]]:
    return [(name, param.dim()) for name, param in params.items()]


def _rest(args: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in args.items() if name != "weight_decay"}  # each group has its own


def _decay_of(kind: Any, args: Mapping[str, Any]) -> float | None:
    if "weight_decay" in args:
        return float(args["weight_decay"])
    parameter = inspect.signature(kind).parameters.get("weight_decay")
    return float(parameter.default) if parameter and isinstance(parameter.default, int | float) else None


def _groups(params: Mapping[str, nn.Parameter], found: Mapping[str, Terms], lr: float) -> list[dict[str, Any]]:
    """One for each pair of weight decay and share of the rate, in the order of the parameters."""
    groups: dict[Terms, dict[str, Any]] = {}
    for name, param in params.items():
        its = found[name]
        decay = {} if its.weight_decay is None else {"weight_decay": its.weight_decay}
        group = groups.setdefault(its, {"params": [], "lr": lr * its.lr_scale, LR_SCALE: its.lr_scale, **decay})
        group["params"].append(param)
    return list(groups.values())
