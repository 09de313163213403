"""The cluster's network: one namespace for the control plane, one per node, a bridge between them, and no way out."""

import ctypes
from pathlib import Path

from hack.cluster.layout import CONTROL, CONTROL_IP, Node
from hack.cluster.shell import inside, run

BRIDGE = "lan"
_CLONE_NEWNET = 0x40000000


def create(nodes: list[Node]) -> None:
    """All namespaces, links and routes."""
    _namespace(CONTROL)
    _ip(CONTROL, "link add", BRIDGE, "type bridge")
    _ip(CONTROL, "addr add", f"{CONTROL_IP}/24", "dev", BRIDGE)
    _ip(CONTROL, "link set", BRIDGE, "up")
    for node in nodes:
        _join(node)
    for node in nodes:
        for peer in (it for it in nodes if it != node):
            _ip(node.namespace, "route add", peer.pods, "via", peer.ip)


def cut(node: Node) -> None:
    """Takes the node's link down: nothing reaches it, and what runs there runs on."""
    _ip(CONTROL, "link set", node.name, "down")


def mend(node: Node) -> None:
    """Brings the link back, and lets everything through."""
    _ip(CONTROL, "link set", node.name, "up")
    run(*inside(node.namespace, "nft", "-f", "-"), stdin="add table inet cut\ndelete table inet cut\n")


def cut_api(node: Node) -> None:
    """Only the API server and the kubelet lose each other; storage and DNS stay: that is how zombies are made."""
    rules = (
        "table inet cut {\n"
        f" chain leaving {{ type filter hook output priority -10; ip daddr {CONTROL_IP} tcp dport 6443 drop; }}\n"
        f" chain passing {{ type filter hook forward priority -10; ip daddr {CONTROL_IP} tcp dport 6443 drop; }}\n"
        " chain arriving { type filter hook input priority -10; tcp dport 10250 drop; tcp sport 6443 drop; }\n"
        "}\n"
    )
    run(*inside(node.namespace, "nft", "-f", "-"), stdin=rules)


def _namespace(name: str) -> None:
    run("ip", "netns", "add", name)
    _ip(name, "link set", "lo", "up")
    run(*inside(name, "sysctl", "-qw", "net.ipv4.ip_forward=1"))


def _join(node: Node) -> None:
    _namespace(node.namespace)
    run(
        "ip",
        "link",
        "add",
        "eth0",
        "netns",
        node.namespace,
        "type",
        "veth",
        "peer",
        "name",
        node.name,
        "netns",
        CONTROL,
    )
    _ip(CONTROL, "link set", node.name, "master", BRIDGE, "up")
    _ip(node.namespace, "addr add", f"{node.ip}/24", "dev", "eth0")
    _ip(node.namespace, "link set", "eth0", "up")
    _ip(node.namespace, "route add default via", CONTROL_IP)
    _ip(CONTROL, "route add", node.pods, "via", node.ip)


def _ip(namespace: str, *words: str) -> None:
    run("ip", "-n", namespace, *" ".join(words).split())


def enter() -> None:
    """This process goes where the control plane is, with the threads and processes that it starts from here on."""
    with Path("/run/netns", CONTROL).open("rb") as file:  # Python 3.12 has os.setns
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns to {CONTROL}")


def exists() -> bool:
    """Whether a cluster's network is there."""
    return Path("/run/netns", CONTROL).exists()
