"""Where the records of a run go: always JSON lines beside the checkpoints, and what `trainer.track` adds."""

from ktrain_trainer.sinks.base import Sink
from ktrain_trainer.sinks.facts import Facts
from ktrain_trainer.sinks.open import open_sinks

__all__ = ["Sink", "Facts", "open_sinks"]
