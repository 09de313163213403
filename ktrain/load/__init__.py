"""From the text of a job file to a TrainingJob, or to errors with file, line and column."""

from ktrain.load.job import Loaded, load_job, parse_job, storage_url
from ktrain.load.problem import Problem, SpecErrors

__all__ = ["Loaded", "Problem", "SpecErrors", "load_job", "parse_job", "storage_url"]
