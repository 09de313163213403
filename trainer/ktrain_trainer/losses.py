"""Losses by name, each with what its sum is divided by, so that the trainer's mean is torch's `reduction="mean"`."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812  -- torch's own custom

from ktrain.errors import BuildError
from ktrain.extras import require
from ktrain.spec.task import Loss
from ktrain_trainer import build

LossFunction = Callable[..., torch.Tensor]
IGNORED: Final = -100  # torch's default ignore_index
_WHERE: Final = "spec.trainer.task.loss"


@dataclass(frozen=True, slots=True)
class Kind:
    """A loss: its function, how many tensors the model gives it, and whether it compares classes or logits of one."""

    function: LossFunction
    outputs: int = 1
    has_targets: bool = True
    over_classes: bool = False
    per_sample: bool = False  # the mean is over samples, not over elements
    scores: Callable[[torch.Tensor], torch.Tensor] | None = None  # from outputs to probabilities


def info_nce(
    query: torch.Tensor, key: torch.Tensor, *, temperature: float = 0.07, symmetric: bool = True, reduction: str = "sum"
) -> torch.Tensor:
    """Contrastive loss of pairs (batch, width), van den Oord et al. 2018: each query's own key against the others'.

    Negatives are those of the same micro-batch and of no other, so that the loss depends on batch.micro and never on
    the number of ranks. symmetric: also keys against queries, as CLIP does; the mean of both.
    """
    logits = F.normalize(query.float(), dim=-1) @ F.normalize(key.float(), dim=-1).T / temperature
    own = torch.arange(len(logits), device=logits.device)
    loss = F.cross_entropy(logits, own, reduction=reduction)
    return (loss + F.cross_entropy(logits.T, own, reduction=reduction)) / 2 if symmetric else loss


def focal(
    input: torch.Tensor,  # noqa: A002  -- as torch's losses call it
    target: torch.Tensor,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    reduction: str = "sum",
) -> torch.Tensor:
    """torchvision's focal loss of logits against zeros and ones (Lin et al. 2017)."""
    function = importlib.import_module("torchvision.ops").sigmoid_focal_loss
    loss: torch.Tensor = function(input, target.to(input.dtype), alpha=alpha, gamma=gamma, reduction=reduction)
    return loss


def _probabilities(logits: torch.Tensor) -> torch.Tensor:
    return logits.softmax(-1)


KINDS: Final[dict[str, Kind]] = {
    "cross_entropy": Kind(F.cross_entropy, over_classes=True, scores=_probabilities),
    "mse": Kind(F.mse_loss),
    "bce_with_logits": Kind(F.binary_cross_entropy_with_logits, scores=torch.sigmoid),
    "l1": Kind(F.l1_loss),
    "huber": Kind(F.huber_loss),
    "smooth_l1": Kind(F.smooth_l1_loss),
    "nll": Kind(F.nll_loss, over_classes=True, scores=torch.exp),
    "kl_div": Kind(F.kl_div, per_sample=True),
    "cosine_embedding": Kind(F.cosine_embedding_loss, outputs=2, per_sample=True),
    "triplet_margin": Kind(F.triplet_margin_loss, outputs=3, has_targets=False, per_sample=True),
    "info_nce": Kind(info_nce, outputs=2, has_targets=False, per_sample=True),
    "focal": Kind(focal, scores=torch.sigmoid),
}
LOSSES: Final = {name: kind.function for name, kind in KINDS.items()}
_TENSORS: Final = ("weight", "pos_weight")  # arguments that a job file writes as lists


def find(spec: Loss) -> tuple[Kind, dict[str, Any]]:
    """A job's loss with its arguments; BuildError names the key that is wrong."""
    if ":" in spec.use:
        function = build.resolve(spec.use, f"{_WHERE}.use")
        if not callable(function):
            raise BuildError(f"{spec.use} is a {type(function).__name__}, not a function", f"{_WHERE}.use")
        return Kind(function), dict(spec.args)
    if "reduction" in spec.args:
        raise BuildError(
            "reduction is always 'sum' (the trainer divides by the targets that count); remove it", f"{_WHERE}.args"
        )
    kind = KINDS[spec.use]
    if spec.use == "focal":
        require("torchvision", "data", "the focal loss", f"{_WHERE}.use")
    _check(kind.function, spec.args)
    return kind, {name: _tensor(name, value) if name in _TENSORS else value for name, value in spec.args.items()}


def count(targets: torch.Tensor, args: Mapping[str, Any]) -> int:
    """How many classes among the targets count; a GPU sync."""
    return int((targets != args.get("ignore_index", IGNORED)).sum())


def weigh(targets: torch.Tensor, args: Mapping[str, Any]) -> float:
    """What torch's mean divides a loss over classes by: the targets' weights, or their number; a GPU sync."""
    if targets.is_floating_point():  # probabilities of all classes
        return float(targets[..., 0].numel())
    weights = args.get("weight")
    if weights is None:
        return float(count(targets, args))
    counted = targets[targets != args.get("ignore_index", IGNORED)]
    return float(weights.to(targets.device)[counted].sum(dtype=torch.float64))


def _check(function: LossFunction, args: Mapping[str, Any]) -> None:
    parameters = inspect.signature(function).parameters
    tensors = [name for name, it in parameters.items() if it.default is inspect.Parameter.empty]
    for name in (*tensors, "size_average", "reduce"):
        if name in args:
            raise BuildError(f"the trainer gives {name!r}; remove it", f"{_WHERE}.args")
    build.check_args(function, {**dict.fromkeys(tensors), **args}, f"{_WHERE}.args")


def _tensor(name: str, value: Any) -> torch.Tensor:
    try:
        tensor = torch.tensor(value, dtype=torch.float32, device="cpu")
    except (TypeError, ValueError):
        raise BuildError(f"{name} is {value!r}; it must be a list of numbers", f"{_WHERE}.args") from None
    if name == "weight" and not (tensor.isfinite().all() and (tensor >= 0).all() and tensor.sum() > 0):
        raise BuildError(f"weight is {value!r}; it must be a list of numbers from 0 on, not all 0", f"{_WHERE}.args")
    return tensor
