"""A job file, with the namespace that a cluster command means."""

from collections.abc import Sequence
from pathlib import Path

from ktrain.load import Loaded, load_job


def load_for(job: Path, sets: Sequence[str], namespace: str | None, default: str) -> Loaded:
    """`namespace` wins, then the file's, then `default`, the kubeconfig's."""
    loaded = load_job(job, sets)
    if namespace is None and "namespace" not in (loaded.document.get("metadata") or {}):
        namespace = default
    return load_job(job, [*sets, f"metadata.namespace={namespace}"]) if namespace else loaded
