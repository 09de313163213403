"""The blocks of a model: what is sharded, recomputed or compiled one by one."""

import math
from collections import Counter
from collections.abc import Sequence

from torch import nn

from ktrain.errors import SpecError


def blocks(model: nn.Module, wanted: str | Sequence[str]) -> list[nn.Module]:
    """By class name, or the class that repeats most in lists.

    torch gave up on a universal default (pytorch#73809): `auto` takes transformers' `_no_split_modules` when the model
    has it, else the class whose repeated instances hold the most parameters.
    """
    if wanted == "auto":
        wanted = getattr(model, "_no_split_modules", None) or _largest_repeated(model)
    found = [module for module in model.modules() if type(module).__name__ in wanted]
    missing = set(wanted) - {type(module).__name__ for module in found}
    if missing:
        raise SpecError(
            f"spec.trainer.parallel.blocks names {', '.join(sorted(missing))}, but the model has no module of that class"
        )
    return [module for module in found if module is not model]


def _largest_repeated(model: nn.Module) -> tuple[str, ...]:
    sizes: Counter[str] = Counter()
    for parent in model.modules():
        if isinstance(parent, nn.ModuleList | nn.Sequential):
            names = Counter(type(child).__name__ for child in parent)
            for child in parent:
                if names[type(child).__name__] > 1:
                    sizes[type(child).__name__] += sum(math.prod(param.shape) for param in child.parameters())
    return (sizes.most_common(1)[0][0],) if sizes and sizes.most_common(1)[0][1] else ()
