"""Kim's convolutional network for sentences (2014), and reviews to classify that are made from a seed.

A review says something good or bad among things that are neither. "not boring" praises and "hardly exciting" does not, so
single words do not tell: a model must look at words that stand together.
"""

import random

import torch
import torch.nn.functional as F
from torch import nn

LENGTH = 32  # words of a review; shorter ones are padded with token 0
THINGS = ["plot", "cast", "music", "ending", "story", "hero", "pace", "score", "dialogue", "camera", "set", "costume"]
FILLERS = "we saw it on a rainy evening | the cinema was half full | it lasts two hours | my sister came along | they filmed in rome"
GOOD = ["great", "exciting", "clever", "warm", "funny", "brilliant", "moving", "fresh"]
BAD = ["dull", "boring", "silly", "cold", "tedious", "weak", "clumsy", "stale"]
NEGATIONS = ["not", "hardly", "never"]
STRESS = ["very", "truly", "quite", "simply"]
WORDS = ["", *sorted({*THINGS, *FILLERS.split(), *GOOD, *BAD, *NEGATIONS, *STRESS, "the", "was", "found", "i"} - {"|"})]
NUMBERS = {word: number for number, word in enumerate(WORDS)}


class Reviews:
    """Token ids (LENGTH,) and a label: 1 for praise. Review n of a split is always the same."""

    def __init__(self, split: str) -> None:
        self.split = split
        self.size = {"train": 4000, "test": 1000}[split]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        text, label = review(f"{self.split} {index}")
        tokens = [NUMBERS[word] for word in text.split()]
        return torch.tensor(tokens + [0] * (LENGTH - len(tokens))), label


def review(seed: str) -> tuple[str, int]:
    """A text of at most LENGTH words, and whether it praises."""
    dice = random.Random(seed)
    label = dice.randrange(2)
    parts = [_opinion(dice, is_good=bool(label)) for _ in range(dice.randint(1, 2))]
    parts += dice.sample(FILLERS.split(" | "), dice.randint(1, 3))
    dice.shuffle(parts)
    return " ".join(parts), label


def _opinion(dice: random.Random, *, is_good: bool) -> str:
    is_negated = dice.random() < 0.3
    word = dice.choice(GOOD if is_good != is_negated else BAD)
    before = dice.choice(NEGATIONS) if is_negated else dice.choice([*STRESS, ""])
    return f"the {dice.choice(THINGS)} was {before} {word}"


class TextCNN(nn.Module):
    """Tokens (batch, length) → logits (batch, num_labels): each filter looks for its pattern of words, anywhere."""

    def __init__(
        self,
        vocab_size: int = len(WORDS),
        embed_size: int = 128,
        num_filters: int = 100,
        filter_sizes: tuple[int, ...] = (3, 4, 5),
        num_labels: int = 2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab_size, embed_size, padding_idx=0)
        self.filters = nn.ModuleList(nn.Conv1d(embed_size, num_filters, size) for size in filter_sizes)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(num_filters * len(filter_sizes), num_labels)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """The strongest answer of each filter over the whole text decides."""
        words = self.embed(tokens).transpose(1, 2)
        found = [F.relu(filter_(words)).amax(-1) for filter_ in self.filters]
        logits: torch.Tensor = self.head(self.dropout(torch.cat(found, -1)))
        return logits
