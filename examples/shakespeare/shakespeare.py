"""A character-level GPT and its text: small enough to learn Shakespeare's manner on two CPU cores in minutes."""

import math
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

TEXT = Path(__file__).parent / "data" / "tinyshakespeare.txt"
VALIDATION_SHARE = 0.1


@cache
def vocabulary() -> str:
    """All characters of the text, in order; a token is an index into it."""
    return "".join(sorted(set(TEXT.read_text(encoding="utf-8"))))


def encode(text: str) -> torch.Tensor:
    """Characters → tokens, (length,) int64."""
    numbers = {character: number for number, character in enumerate(vocabulary())}
    return torch.tensor([numbers[character] for character in text])


class CharBlocks:
    """Blocks of characters with the characters that follow them.

    train: one sample per place where a block can begin, in the first nine tenths. val: the last tenth, cut into blocks
    that do not overlap, so that each character is predicted once.
    """

    def __init__(self, split: str, block: int = 64) -> None:
        tokens = encode(TEXT.read_text(encoding="utf-8"))
        border = int(len(tokens) * (1 - VALIDATION_SHARE))
        self.tokens = tokens[:border] if split == "train" else tokens[border:]
        self.block = block
        last = len(self.tokens) - block - 1
        self.starts = torch.arange(last + 1) if split == "train" else torch.arange(0, last + 1, block)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """A whole micro-batch at once: (inputs, targets), each (batch, block)."""
        places = self.starts[indices, None] + torch.arange(self.block + 1)
        blocks = self.tokens[places]
        return blocks[:, :-1], blocks[:, 1:]

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, targets = self.__getitems__([index])
        return inputs[0], targets[0]


def as_it_is() -> object:
    """A collate function for a dataset that makes whole batches itself."""
    return lambda batch: batch


class Block(nn.Module):
    """Attention, then a small network, each added to what came in (pre-norm, as in GPT-2)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.before_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.after_attention = nn.Linear(width, width)
        self.before_mlp = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, length, width) → the same."""
        batch, length, width = x.shape
        parts = self.query_key_value(self.before_attention(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True, dropout_p=self.dropout * self.training)
        x = x + self._drop(self.after_attention(seen.transpose(1, 2).reshape(batch, length, width)))
        return x + self._drop(self.narrow(F.gelu(self.widen(self.before_mlp(x)))))

    def _drop(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, self.dropout, self.training)


class GPT(nn.Module):
    """Tokens (batch, length) → logits (batch, length, vocabulary)."""

    def __init__(
        self, layers: int = 4, heads: int = 4, width: int = 128, block: int = 64, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.block = block
        self.tokens = nn.Embedding(len(vocabulary()), width)
        self.positions = nn.Embedding(block, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.apply(_small)
        for name, parameter in self.named_parameters():
            if name.endswith(("after_attention.weight", "narrow.weight")):  # what is added up over the layers
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """The head is the embedding, transposed: small models learn faster so."""
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)

    @torch.no_grad()
    def write(self, begin: str, length: int, *, temperature: float = 0.8, seed: int = 1) -> str:
        """Goes on from `begin`, a character at a time."""
        dice = torch.Generator().manual_seed(seed)
        tokens = encode(begin)[None]
        for _ in range(length):
            logits = self(tokens[:, -self.block :])[:, -1] / temperature
            tokens = torch.cat([tokens, torch.multinomial(logits.softmax(-1), 1, generator=dice)], 1)
        return "".join(vocabulary()[token] for token in tokens[0].tolist())


def _small(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
