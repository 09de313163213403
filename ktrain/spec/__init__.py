"""The job file as frozen pydantic models."""

from ktrain.spec.base import Mark, Model
from ktrain.spec.job import JobSpec, Metadata, TrainingJob
from ktrain.spec.profile import Profile
from ktrain.spec.trainer import Trainer

__all__ = ["JobSpec", "Mark", "Metadata", "Model", "Profile", "Trainer", "TrainingJob"]
