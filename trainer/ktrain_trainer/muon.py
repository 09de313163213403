"""Muon for a network's hidden matrices and AdamW for all else, as one optimizer with one state by parameter."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ktrain_trainer.checkpoint.sharding import is_sharded

Groups = list[dict[str, Any]]


def hidden(model: nn.Module) -> frozenset[str]:
    """Names of the matrices that Muon is for: two dimensions, no embedding's, and not the last layer's."""
    embedded = {id(param) for it in model.modules() if isinstance(it, nn.Embedding) for param in it.parameters()}
    matrices = [name for name, param in model.named_parameters() if param.dim() == 2 and id(param) not in embedded]
    return frozenset(matrices[:-1])


class MuonWithAdamW(torch.optim.Optimizer):
    """Two optimizers that look like one: the same groups and the same states by parameter, so that both are saved alike."""

    def __init__(
        self, muon: tuple[Groups, dict[str, Any]], adamw: tuple[Groups, dict[str, Any]], *, kernel: str
    ) -> None:
        """Each with its groups and arguments; a model without hidden matrices gets AdamW alone."""
        self.parts: Sequence[torch.optim.Optimizer] = [
            *([Muon(muon[0], **muon[1])] if muon[0] else []),
            *([torch.optim.AdamW(adamw[0], **{**adamw[1], kernel: True})] if adamw[0] else []),
        ]
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        for part, begin in zip(self.parts, self._begins(), strict=True):
            part.param_groups = self.param_groups[begin : begin + len(part.param_groups)]
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of each."""
        assert closure is None
        for part in self.parts:
            part.step()

    def _begins(self) -> list[int]:
        return [sum(len(it.param_groups) for it in self.parts[:at]) for at in range(len(self.parts))]


class Muon(torch.optim.Muon):
    """torch's, which also steps shards: their update is gathered, made orthogonal on every rank alike, and cut again."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step."""
        if not any(is_sharded(param) for group in self.param_groups for param in group["params"]):
            super().step(closure)  # type: ignore[no-untyped-call]
            return
        for group in self.param_groups:
            for param in (param for param in group["params"] if param.grad is not None):
                self._step_shard(param, group)

    def _step_shard(self, param: Any, group: dict[str, Any]) -> None:
        from torch.distributed.tensor import DTensor, Replicate

        state = self.state[param]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(param.grad)
        grad, buffer, weights = param.grad.to_local(), state["momentum_buffer"].to_local(), param.to_local()
        buffer.lerp_(grad, 1 - group["momentum"])
        update = grad.lerp(buffer, group["momentum"]) if group["nesterov"] else buffer
        mesh, cuts = param.device_mesh, param.placements
        spread = DTensor.from_local(update, mesh, cuts, run_check=False, shape=param.shape, stride=param.stride())
        change = _orthogonal(spread.full_tensor(), group)
        whole = DTensor.from_local(change, mesh, [Replicate()] * mesh.ndim, run_check=False)
        weights.mul_(1 - group["lr"] * group["weight_decay"])
        weights.add_(whole.redistribute(placements=cuts).to_local())


def _orthogonal(update: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
    """The change of weights: torch's own step of zeros, without momentum or decay."""
    change = torch.zeros_like(update).requires_grad_()
    change.grad = update
    names = ("lr", "ns_coefficients", "eps", "ns_steps", "adjust_lr_fn")
    own = {name: group[name] for name in names}
    torch.optim.Muon([change], weight_decay=0.0, momentum=0.0, nesterov=False, **own).step()  # type: ignore[no-untyped-call]
    return change.detach()
