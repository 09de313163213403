"""Next-token prediction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  -- torch's own custom
from torch import nn

from ktrain_trainer.tasks.out import Out, Seen


@dataclass(frozen=True)
class CausalLM:
    """Batches are token ids (batch, length), or a mapping with input_ids and perhaps labels.

    The model gives logits (batch, length, vocabulary), or an object with .logits. Labels of -100 do not count.
    """

    ignore_index: int = -100

    def __call__(self, model: nn.Module, batch: Any) -> Out:
        tokens = batch["input_ids"] if isinstance(batch, Mapping) else batch
        labels = batch.get("labels", tokens) if isinstance(batch, Mapping) else tokens
        rest = (
            {name: value for name, value in batch.items() if name not in {"labels", "input_ids"}}
            if isinstance(batch, Mapping)
            else {}
        )
        outputs = model(tokens, **rest)
        logits, targets = getattr(outputs, "logits", outputs)[:, :-1].float(), labels[:, 1:]
        loss_sum = F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), reduction="sum", ignore_index=self.ignore_index
        )
        seen = None if torch.is_grad_enabled() else Seen(logits, targets, self.ignore_index, lambda it: it.softmax(-1))
        return Out(loss_sum, (targets != self.ignore_index).sum(), seen=seen)
