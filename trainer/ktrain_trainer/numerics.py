"""Threads and kernels are part of the numbers, so they follow from the spec and never from the machine."""

import os

import torch

from ktrain.spec import Trainer


def set_numerics(spec: Trainer) -> None:
    """For this process, before the first tensor."""
    torch.set_num_threads(spec.threads)
    if spec.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
