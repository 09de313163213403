"""Parameters that stay as they are until a moment of the run: a function of progress, so nothing of it is stored."""

import re
from collections.abc import Iterable, Mapping

import torch
from torch import nn

from ktrain.errors import SpecError
from ktrain.spec.optim import Rule
from ktrain.units import Span
from ktrain_trainer.progress import Progress


class Freezer:
    """Knows who is frozen when. Frozen parameters stay in the optimizer's groups and have no gradient."""

    def __init__(self, rules: Iterable[Rule], model: nn.Module, *, num_samples: int, is_sharded: bool) -> None:
        """SpecError when nothing is left to train at the beginning."""
        self._num_samples = num_samples
        # Shards are gathered and reduced by torch in groups that it made with all of them trained; there, gradients of
        # frozen parameters are computed and dropped. Elsewhere they are not computed.
        self._toggles = not is_sharded
        trained = {name: param for name, param in model.named_parameters() if param.requires_grad}
        self._until = _until(rules, trained)
        frozen = sum(len(params) for span, params in self._until.items() if span.value)
        if frozen and frozen == len(trained):
            raise SpecError("spec.trainer.optim.rules: every parameter is frozen at the beginning; leave one out")

    def hold(self, progress: Progress) -> None:
        """Before a step's passes."""
        for span, params in self._until.items() if self._toggles else ():
            is_trained = self._is_over(span, progress)
            if params[0].requires_grad != is_trained:
                for param in params:
                    param.requires_grad_(is_trained)

    def drop(self, progress: Progress) -> None:
        """After the reduction: the norm, the clipping and the optimizer see no gradient of a frozen parameter."""
        for span, params in self._until.items():
            if not self._is_over(span, progress):
                for param in params:
                    if param.grad is not None:
                        param.grad.zero_()  # it may be a view of a bucket, of which norms are taken
                        param.grad = None

    def _is_over(self, span: Span, progress: Progress) -> bool:
        done = {"step": progress.step, "sample": progress.samples, "ep": progress.samples, "tok": progress.tokens}
        return done[span.unit] >= span.value * (self._num_samples if span.unit == "ep" else 1)


def _until(rules: Iterable[Rule], trained: Mapping[str, nn.Parameter]) -> dict[Span, list[torch.Tensor]]:
    found: dict[Span, list[torch.Tensor]] = {}
    given = [(rule.match, rule.frozen_until) for rule in rules if rule.frozen_until]
    for name, param in trained.items():
        span = next((span for pattern, span in given if re.search(pattern, name)), None)
        if span:
            found.setdefault(span, []).append(param)
    return found
