"""Which way to spread a model, by the spec and the number of ranks."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ktrain.errors import SpecError
from ktrain.spec.compile import Compile
from ktrain.spec.parallel import Parallel as ParallelSpec
from ktrain_trainer.parallel.base import Parallel
from ktrain_trainer.parallel.blocks import blocks
from ktrain_trainer.parallel.recompute import recompute
from ktrain_trainer.parallel.replicate import Replicated
from ktrain_trainer.parallel.single import Single
from ktrain_trainer.world import World


def spread(model: nn.Module, world: World, spec: ParallelSpec, compile_: Compile | None = None) -> Parallel:
    """The model on its device, spread over the ranks; SpecError when the strategy does not fit."""
    if not any(param.requires_grad for param in model.parameters()):
        raise SpecError("the model has no parameter to train; check spec.trainer.model")
    model = model.to(world.device)
    if spec.strategy == "single" and world.size > 1:
        raise SpecError(
            f"spec.trainer.parallel.strategy is single, but the job has {world.size} ranks; write ddp, fsdp2 or auto, or run one rank"
        )
    if spec.recompute != "none":
        for block in _repeated(model, spec, "parallel.recompute"):
            recompute(block, spec.recompute)
    if compile_:
        _compile(model, spec, compile_)
    if world.size == 1:
        return Single(model)
    if spec.is_sharded:
        from ktrain_trainer.parallel.shard import Sharded  # takes as long as importing torch

        return Sharded(model, world, spec)
    return Replicated(model, world.control)


def _compile(model: nn.Module, spec: ParallelSpec, how: Compile) -> None:
    """In place, so that no name changes. Never with dynamic shapes: which graph runs would depend on the shapes before,
    and a resumed run has seen others."""
    parts = [model] if how.scope == "model" else _repeated(model, spec, "compile.scope")
    for part in parts:
        part.forward = torch.compile(_plain(part.forward), mode=how.mode, dynamic=False)


def _plain(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The method, as a function: not the module itself, whose hooks (FSDP2's) would break the graph at its beginning."""

    def run(*args: Any, **kwargs: Any) -> Any:
        return forward(*args, **kwargs)

    return run


def _repeated(model: nn.Module, spec: ParallelSpec, key: str) -> list[nn.Module]:
    found = blocks(model, spec.blocks)
    if not found:
        raise SpecError(
            f"spec.trainer.{key}: the model repeats no block; name the classes in spec.trainer.parallel.blocks"
        )
    return found
