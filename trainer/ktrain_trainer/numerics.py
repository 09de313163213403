"""Threads and kernels are part of the numbers, so they follow from the spec and never from the machine."""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Literal

import torch

from ktrain.spec import Trainer

_NOTHING: Final = nullcontext()
_DTYPES: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: Literal["fp32", "bf16", "fp16"], device: torch.device) -> AbstractContextManager[Any]:
    """16 bits where the spec says so."""
    if precision == "fp32":
        return _NOTHING
    return torch.autocast(device.type, dtype=_DTYPES[precision])


def set_numerics(spec: Trainer) -> None:
    """For this process, before the first tensor."""
    torch.set_num_threads(spec.threads)
    if spec.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
