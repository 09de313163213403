"""How the model is spread over ranks."""

from typing import Literal, Self

from pydantic import model_validator

from ktrain.spec.base import Model, setting


class Parallel(Model):
    """How the model is spread over ranks."""

    strategy: Literal["auto", "single", "ddp", "fsdp2", "hsdp"] = setting(
        "auto", resume="free", doc="auto: single with one rank, else ddp; hsdp: sharded in groups, a copy in each"
    )
    shards: int | None = setting(
        None, resume="free", doc="hsdp: ranks that hold one copy together; none: those of a node", ge=1, le=100_000
    )
    blocks: Literal["auto"] | tuple[str, ...] = setting(
        "auto", resume="free", doc="class names of the modules that are sharded, or recomputed, one by one"
    )
    reshard_after_forward: bool = setting(
        True, resume="free", doc="fsdp2, hsdp: free the gathered parameters between forward and backward"
    )
    recompute: Literal["none", "full", "selective"] = setting(
        "none",
        resume="free",
        doc="activation checkpointing of the blocks; selective: what matrix products and attention gave is kept",
    )

    @property
    def is_sharded(self) -> bool:
        """Whether a rank holds a part of the model only."""
        return self.strategy in {"fsdp2", "hsdp"}

    @model_validator(mode="after")
    def _shards_of_hsdp(self) -> Self:
        if self.shards is not None and self.strategy != "hsdp":
            raise ValueError(f"shards is {self.shards}, but strategy is {self.strategy}; only hsdp has groups of ranks")
        return self
