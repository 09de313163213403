"""A Kubernetes cluster as ktrain sees it: `client` talks to it, the other modules decide what is said."""

from ktrain.cluster.client import Cluster
from ktrain.cluster.kinds import (
    ACCESS_REVIEW,
    ACCOUNT,
    CLAIM,
    CONFIG_MAP,
    EVENT,
    JOB,
    LEASE,
    LOCAL_QUEUE,
    NAMESPACE,
    NODE,
    POD,
    SECRET,
    WORKLOAD,
    Kind,
)

__all__ = [
    "ACCESS_REVIEW",
    "ACCOUNT",
    "CLAIM",
    "CONFIG_MAP",
    "EVENT",
    "JOB",
    "LEASE",
    "LOCAL_QUEUE",
    "NAMESPACE",
    "NODE",
    "POD",
    "SECRET",
    "WORKLOAD",
    "Cluster",
    "Kind",
]
