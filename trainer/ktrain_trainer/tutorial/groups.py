"""What every optimizer has in common: parameters in groups, each group with its own settings.

Why groups? Because not all parameters want the same treatment. Weight decay pulls a parameter towards zero. For the
weight matrix of a linear layer that is regularisation: smaller weights, smoother function. For a bias, or for the scale
of a LayerNorm (whose neutral value is 1 and not 0!), it only does harm. So the parameters are sorted into two groups, with
and without decay; fine-tuning adds more of them, with a lower rate for layers that were trained before.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

Group = dict[str, Any]  # "params": list of parameters; "lr", "weight_decay", …: numbers


class OptimizerFromScratch:
    """Parameters in groups, and one state (a mapping of tensors and numbers) for each parameter."""

    def __init__(self, params: Iterable[nn.Parameter] | Iterable[Group], **defaults: float) -> None:
        """params: parameters, or groups of them; a group's own settings win over the defaults."""
        given: list[Any] = list(params)
        groups = given if given and isinstance(given[0], dict) else [{"params": given}]
        self.param_groups: list[Group] = [{**defaults, **group, "params": list(group["params"])} for group in groups]
        self.state: dict[nn.Parameter, dict[str, Any]] = {}

    def zero_grad(self) -> None:
        """Forgets the gradients. backward() *adds* to .grad, so without this each step would go on from the last one's."""
        for param in self.parameters():
            param.grad = None

    @torch.no_grad()  # what happens in here is arithmetic on the parameters, and nothing to take a gradient of
    def step(self) -> None:
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:  # frozen, or not used in this forward pass
                    self.update(param, param.grad, self.state.setdefault(param, {}), group)

    def update(self, param: torch.Tensor, grad: torch.Tensor, state: dict[str, Any], group: Mapping[str, Any]) -> None:
        """The formula; each optimizer has its own."""
        raise NotImplementedError

    def parameters(self) -> list[nn.Parameter]:
        """All of them, in order."""
        return [param for group in self.param_groups for param in group["params"]]


def decay_groups(model: nn.Module, weight_decay: float) -> list[Group]:
    """Two groups: matrices decay, everything with fewer than two dimensions (biases, norms' scales) does not.

    The number of dimensions is a better test than a list of names: it needs no knowledge of the model. The real one is
    `optim.noDecay: auto` in the job file.
    """
    params = list(model.parameters())
    return [
        {"params": [param for param in params if param.dim() >= 2], "weight_decay": weight_decay},
        {"params": [param for param in params if param.dim() < 2], "weight_decay": 0.0},
    ]
