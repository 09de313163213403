"""A Kubernetes cluster as ktrain sees it: `client` talks to it, the other modules decide what is said."""

from ktrain.cluster.client import Cluster
from ktrain.cluster.kinds import CONFIG_MAP, EVENT, JOB, NAMESPACE, NODE, POD, SECRET, Kind

__all__ = ["CONFIG_MAP", "EVENT", "JOB", "NAMESPACE", "NODE", "POD", "SECRET", "Cluster", "Kind"]
