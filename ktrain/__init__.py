"""ktrain: one job.yaml becomes a distributed PyTorch job that survives whatever happens to its pods."""

__version__ = "0.1.0"
