"""How one model is spread over ranks; the loop sees only `Parallel`."""

from ktrain_trainer.parallel.base import Parallel, Votes
from ktrain_trainer.parallel.build import spread

__all__ = ["Parallel", "Votes", "spread"]
