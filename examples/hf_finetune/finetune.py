"""Makes the folder that the job begins from, as a download would be: `python finetune.py [FOLDER]`, half a minute.

A tiny BERT learns to guess masked words in the reviews, without their labels; then save_pretrained. The job loads it with
from_pretrained: the encoder's weights are kept, the head is new.
"""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import BertConfig, BertForMaskedLM

import ktrain_trainer as ktrain
from ktrain_trainer.notebook import seed_model

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
MASK_SHARE = 0.15


def guess(model: nn.Module, batch: Any) -> ktrain.Out:
    """The task: masked words, from the words around them (Devlin et al. 2019)."""
    tokens, _labels = batch
    is_masked = (torch.rand(tokens.shape) < MASK_SHARE) & (tokens != 0)
    seen = tokens.masked_fill(is_masked, model.config.vocab_size - 1)
    logits = model(input_ids=seen, attention_mask=(tokens != 0).long()).logits
    loss_sum = F.cross_entropy(logits[is_masked].float(), tokens[is_masked], reduction="sum")
    return ktrain.Out(loss_sum, is_masked.sum())


def make_base(folder: Path, num_steps: int = 400) -> ktrain.Fitted:
    """Trains, and writes what from_pretrained reads: config.json and model.safetensors."""
    from text_cnn.text_cnn import WORDS, Reviews

    seed_model(0)
    sizes = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "initializer_range": 0.1,
    }
    model = BertForMaskedLM(BertConfig(vocab_size=len(WORDS) + 1, pad_token_id=0, **sizes))
    fitted = ktrain.fit(
        model,
        Reviews("train"),
        duration=f"{num_steps}step",
        batch={"global": 32, "micro": 32},
        optim={"name": "adamw", "lr": 2e-3, "clip": {"norm": 1.0}},
        loss=guess,
    )
    model.save_pretrained(folder)
    return fitted


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "base"
    print(f"loss {make_base(target).curve('loss')[-1][1]:.3f}; wrote {target}")
