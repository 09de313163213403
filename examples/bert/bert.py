"""A BERT of Hugging Face's transformers, from a configuration; and the task for every model of theirs that classifies."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from ktrain_trainer import Out


def bert(**config: Any) -> nn.Module:
    """With the keys of BertConfig; the weights are drawn anew."""
    model: nn.Module = BertForSequenceClassification(BertConfig(pad_token_id=0, **config))
    return model


class Classify:
    """Batches are (tokens, labels); token 0 is padding. The loss is a sum: the trainer divides, over all ranks."""

    def __call__(self, model: nn.Module, batch: Any) -> Out:
        tokens, labels = batch
        logits = model(input_ids=tokens, attention_mask=(tokens != 0).long()).logits
        loss_sum = F.cross_entropy(logits.float(), labels, reduction="sum")
        hits = (logits.argmax(-1) == labels).sum()
        return Out(loss_sum, len(labels), {"accuracy": (hits, len(labels))} if not torch.is_grad_enabled() else {})
