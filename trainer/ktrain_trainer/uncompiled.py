"""A step of training, without a wait for torch's compiler.

torch's optimizers keep torch.compile out of `add_param_group`, `zero_grad`, `step` and more, and import all of it for that at their first
call: torch._dynamo takes two to three times as long as torch itself, in each process. Before anybody has imported it nothing
can be compiled and there is nothing to keep out: until then the methods do what they are for, and afterwards what torch
made of them.
"""

import functools
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final

import torch
from torch.optim import Optimizer

_COMPILER: Final = "torch._dynamo"
_Method = Callable[..., Any]


def backward(loss: torch.Tensor, unit: torch.Tensor) -> None:
    """`loss.backward(unit)` of a scalar loss. To compare the two's shapes, torch imports sympy there: seconds, the first time."""
    engine = getattr(torch.autograd.graph, "_engine_run_backward", None)
    if engine is None:  # not in this torch any more: slower at first, and the same
        loss.backward(unit)  # type: ignore[no-untyped-call]
    else:
        engine((loss,), (unit,), False, False, (), allow_unreachable=True, accumulate_grad=True)


def spare_compiler() -> None:
    """From now on an optimizer imports no compiler by itself; safe to call again, and too late once one was made."""
    if _COMPILER in sys.modules:
        return
    for kind in {it for it in vars(torch.optim).values() if isinstance(it, type) and issubclass(it, Optimizer)}:
        for name, method in list(vars(kind).items()):
            if isinstance(method, FunctionType) and (bare := _bare(method)):
                setattr(kind, name, _until_compiler(bare, method))


def _bare(method: FunctionType) -> _Method | None:
    """What torch has wrapped, None for a method that imports nothing."""
    inside: _Method | None = getattr(method, "__wrapped__", None)
    match method.__code__.co_qualname:
        case "_disable_dynamo.<locals>.inner":
            return inside
        case "_use_grad_for_differentiable.<locals>._use_grad" if inside:
            return _as_differentiable(inside)
    return None


def _as_differentiable(step: _Method) -> _Method:
    def bare(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, *args, **kwargs)

    return bare


def _until_compiler(bare: _Method, guarded: _Method) -> _Method:
    @functools.wraps(guarded)
    def method(*args: Any, **kwargs: Any) -> Any:
        return (guarded if _COMPILER in sys.modules else bare)(*args, **kwargs)

    return method
