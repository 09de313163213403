"""Checkpoints: saved by all ranks together, committed at once or never, restored at any number of ranks."""

from ktrain.checkpoints.retention import Retention
from ktrain_trainer.checkpoint.checkpointer import Checkpointer
from ktrain_trainer.checkpoint.restored import Restored
from ktrain_trainer.checkpoint.save import Options, Pending
from ktrain_trainer.checkpoint.source import init_from
from ktrain_trainer.checkpoint.world import World

__all__ = ["Checkpointer", "Options", "Pending", "Restored", "Retention", "World", "init_from"]
