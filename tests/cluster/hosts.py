"""The cluster's nodes, as tests choose and await them."""

from hack.cluster.kubectl import get
from hack.cluster.layout import Node, nodes_up


def is_ready(node: Node) -> bool:
    """Whether its kubelet has said so lately."""
    conditions = get("node", node.name)["status"]["conditions"]
    return any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)


def spare() -> Node:
    """A node without the operator, which has to go on."""
    (operator,) = get("-n", "kubeflow", "pods")["items"]
    return next(it for it in nodes_up() if it.name != operator["spec"]["nodeName"])
