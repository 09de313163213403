"""Small models and optimizers whose state after any number of steps is the same at any rank count, bit for bit."""

import hashlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from ktrain_trainer.checkpoint.state import collect


class Net(nn.Module):
    """Uneven sizes, a dimension smaller than four ranks, a buffer, shared weights and a frozen parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.body = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.Linear(9, 6, bias=False))
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight
        self.scale = nn.Parameter(torch.ones(3))
        self.frozen = nn.Parameter(torch.arange(10.0), requires_grad=False)
        self.register_buffer("scratch", torch.zeros(5), persistent=False)


class Tiny(Optimizer):
    """An optimizer of our own, so that golden files do not depend on torch's; keeps a counter in its group."""

    def __init__(self, params: Iterable[Tensor], lr: float = 0.5) -> None:
        super().__init__(params, {"lr": lr, "count": 0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["count"] += 1
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self.state[parameter]
                    state["sum"] = state.get("sum", torch.zeros_like(parameter)) + parameter.grad
                    state["calls"] = state.get("calls", 0) + 1
                    state["clock"] = state.get("clock", torch.tensor(0.0)) + 1
                    parameter -= group["lr"] * parameter.grad


def build(mode: str, optimizer: str = "adamw", *, size: int = 1, start: float = 1.0) -> tuple[nn.Module, Optimizer]:
    """A model with known values, plain, sharded by FSDP2, or so in groups of two (hsdp), and its optimizer."""
    model: nn.Module = Net()
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.copy_(ramp(parameter, start + number))
    if mode != "plain":
        shape, names = ((size,), ("shard",)) if mode == "fsdp" else ((size // 2, 2), ("copy", "shard"))
        mesh = init_device_mesh("cpu", shape, mesh_dim_names=names)
        fully_shard(model, mesh=mesh)
    return model, make_optimizer(optimizer, model)


def make_optimizer(name: str, model: nn.Module) -> Optimizer:
    """By name."""
    decayed = [it for it in model.parameters() if it.ndim > 1]
    others = [it for it in model.parameters() if it.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": others, "weight_decay": 0.0}, {"params": decayed}]
    match name:
        case "adamw":
            return torch.optim.AdamW(groups, lr=0.01)
        case "amsgrad":
            return torch.optim.Adam(groups, lr=0.01, amsgrad=True, foreach=False)
        case "momentum":
            return torch.optim.SGD(groups, lr=0.01, momentum=0.9)
        case "sgd":
            return torch.optim.SGD(groups, lr=0.01)
        case "tiny":
            return Tiny([*others, *decayed])
    raise AssertionError(name)


def train(model: nn.Module, optimizer: Optimizer, steps: range) -> None:
    """Steps with gradients and statistics that depend on the step alone."""
    for step in steps:
        for number, parameter in enumerate(model.parameters()):
            if parameter.requires_grad:
                parameter.grad = _like(ramp(parameter, step + number / 7), parameter)
        optimizer.step()
        for buffer in model.buffers():
            buffer.copy_(torch.full_like(buffer, step))


def ramp(tensor: Tensor, start: float) -> Tensor:
    """Values of a shape that no two places share."""
    return torch.sin(torch.arange(tensor.numel(), dtype=torch.float32) + start).reshape(tensor.shape).to(tensor.dtype)


def digests(model: nn.Module, optimizer: Optimizer | None) -> dict[str, str]:
    """A hash for each tensor and value of the whole state, however it is sharded."""
    state = collect(model, optimizer)
    found = {name: digest(tensor) for name, tensor in state.tensors.items()}
    groups = state.optimizer["groups"] if state.optimizer else []
    counts = {f"group {n} count": repr(it["values"].get("count")) for n, it in enumerate(groups)}
    return found | {name: repr(value) for name, value in state.values.items()} | counts


def digest(tensor: Tensor) -> str:
    """Of dtype, shape and bytes."""
    full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    data = full.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if full.numel() else b""
    return f"{full.dtype} {tuple(full.shape)} {hashlib.sha256(data).hexdigest()[:16]}"


def reference(step: int, optimizer: str = "adamw") -> dict[str, str]:
    """What a state trained to that step hashes to."""
    model, made = build("plain", optimizer)
    train(model, made, range(step))
    return digests(model, made)


def _like(full: Tensor, parameter: Tensor) -> Tensor:
    if isinstance(parameter, DTensor):
        return distribute_tensor(full, parameter.device_mesh, parameter.placements)
    return full
