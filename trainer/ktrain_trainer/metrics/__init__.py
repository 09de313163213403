"""Metrics of evaluation, by torchmetrics, exact on any number of ranks."""

from ktrain_trainer.metrics.collect import Metrics as Metrics
