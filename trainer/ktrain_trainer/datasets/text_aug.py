"""Changes of a text's words: swapped, left out, repeated elsewhere. Drawn from Python's generator, which the loader seeds."""
# ruff: noqa: S311  -- augmentation is no cryptography

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class SwapWords:
    """Each word changes its place with another one with this probability."""

    probability: float = 0.1

    def __call__(self, text: str) -> str:
        """As many words as before, in another order."""
        words = text.split()
        for at in range(len(words)):
            if random.random() < self.probability:
                other = random.randrange(len(words))
                words[at], words[other] = words[other], words[at]
        return " ".join(words)


@dataclass(frozen=True)
class DropWords:
    """Each word is left out with this probability; one always stays."""

    probability: float = 0.1

    def __call__(self, text: str) -> str:
        """At most as many words as before."""
        words = text.split()
        kept = [word for word in words if random.random() >= self.probability]
        return " ".join(kept or words[:1])


@dataclass(frozen=True)
class RepeatWords:
    """Each word is written a second time, at a random place, with this probability."""

    probability: float = 0.1

    def __call__(self, text: str) -> str:
        """At least as many words as before."""
        words = text.split()
        for word in words.copy():
            if random.random() < self.probability:
                words.insert(random.randint(0, len(words)), word)
        return " ".join(words)


TEXT: Final[Mapping[str, Callable[..., Callable[[str], Any]]]] = {
    "swap_words": SwapWords,
    "drop_words": DropWords,
    "repeat_words": RepeatWords,
}
