"""Which way to spread a model, by the spec and the number of ranks."""

from torch import nn

from ktrain.errors import SpecError
from ktrain.spec.parallel import Parallel as ParallelSpec
from ktrain_trainer.parallel.base import Parallel
from ktrain_trainer.parallel.blocks import blocks
from ktrain_trainer.parallel.recompute import recompute
from ktrain_trainer.parallel.replicate import Replicated
from ktrain_trainer.parallel.single import Single
from ktrain_trainer.world import World


def spread(model: nn.Module, world: World, spec: ParallelSpec) -> Parallel:
    """The model on its device, spread over the ranks; SpecError when the strategy does not fit."""
    if not any(param.requires_grad for param in model.parameters()):
        raise SpecError("the model has no parameter to train; check spec.trainer.model")
    model = model.to(world.device)
    if spec.strategy == "single" and world.size > 1:
        raise SpecError(
            f"spec.trainer.parallel.strategy is single, but the job has {world.size} ranks; write ddp, fsdp2 or auto, or run one rank"
        )
    if spec.recompute != "none":
        for block in _repeated(model, spec):
            recompute(block, spec.recompute)
    if world.size == 1:
        return Single(model)
    if spec.is_sharded:
        from ktrain_trainer.parallel.shard import Sharded  # takes as long as importing torch

        return Sharded(model, world, spec)
    return Replicated(model, world.control)


def _repeated(model: nn.Module, spec: ParallelSpec) -> list[nn.Module]:
    found = blocks(model, spec.blocks)
    if not found:
        raise SpecError(
            "spec.trainer.parallel.recompute: the model repeats no block; name the classes in spec.trainer.parallel.blocks"
        )
    return found
