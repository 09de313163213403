"""How the model is compiled."""

from typing import Literal

from ktrain.spec.base import Model, setting


class Compile(Model):
    """torch.compile of the model; one graph per shape, so that what runs is a function of the batch and not of the past."""

    scope: Literal["block", "model"] = setting(
        "block", resume="warn", doc="block: those of parallel.blocks one by one, compiled once; model: as a whole"
    )
    mode: Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = setting(
        "default", resume="warn", doc="torch.compile's mode; the autotuned ones choose kernels by the clock"
    )
    cache: bool = setting(
        True, resume="free", doc="keep what was compiled with the run, so that a restart compiles nothing again"
    )
