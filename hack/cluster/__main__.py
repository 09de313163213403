"""`python -m hack.cluster up|down|status|shell|images|kill|revive|cut|cut-api|mend|restart-api`; `make cluster-up` calls it."""

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from hack.cluster import binaries, cluster, network, nodes
from hack.cluster.layout import ADMIN, CONTROL, Node, bin_folder, nodes_up
from hack.cluster.shell import NeedError, in_control, say


def main(args: list[str]) -> int:
    """Runs one command; what is missing is told in a sentence, exit 1."""
    parsed = _parser().parse_args(args)
    try:
        _check_machine()
        return _COMMANDS[parsed.command](parsed) or 0
    except NeedError as error:
        say(f"cluster: {error}")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hack.cluster", description=__doc__)
    parser.add_argument("command", choices=_COMMANDS)
    parser.add_argument("--nodes", type=int, default=2, help="how many nodes to start")
    parser.add_argument("--node", type=int, default=1, help="which node: 1, 2, …")
    parser.add_argument("--bare", action="store_true", help="no operator, no S3, no Prometheus, no worker image")
    return parser


def _check_machine() -> None:
    if platform.system() != "Linux":
        raise NeedError(
            "the cluster needs Linux: network namespaces and cgroups; everything else of the project runs here"
        )
    if os.geteuid() != 0:
        raise NeedError(
            "the cluster needs root, for network namespaces and mounts; run it with sudo, or in a virtual machine"
        )


def _up(parsed: argparse.Namespace) -> None:
    cluster.up(parsed.nodes, is_bare=parsed.bare)


def _down(_parsed: argparse.Namespace) -> None:
    cluster.down()


def _status(_parsed: argparse.Namespace) -> int:
    if not network.exists():
        say("cluster: none is up; `make cluster-up` starts one")
        return 1
    return subprocess.run(
        in_control(bin_folder() / "kubectl", "--kubeconfig", ADMIN, "get", "nodes,pods", "-A", "-o", "wide"),
        check=False,
    ).returncode


def _shell(_parsed: argparse.Namespace) -> int:
    if not network.exists():
        raise NeedError("no cluster is up; `make cluster-up` starts one")
    say(f"cluster: a shell in {CONTROL}; kubectl and ktrain work here, exit to leave")
    env = {
        **os.environ,
        "KUBECONFIG": str(ADMIN),
        "PATH": f"{bin_folder()}:{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    return subprocess.run(in_control(os.environ.get("SHELL", "/bin/sh")), env=env, check=False).returncode


def _images(_parsed: argparse.Namespace) -> None:
    binaries.ensure()
    cluster.prepare_images(is_bare=False)


def _node(act: Callable[[Node], None]) -> Callable[[argparse.Namespace], None]:
    def command(parsed: argparse.Namespace) -> None:
        node = Node(parsed.node)
        if node not in nodes_up():
            raise NeedError(f"there is no {node.name}; there are {', '.join(it.name for it in nodes_up()) or 'none'}")
        act(node)

    return command


def _restart_api(_parsed: argparse.Namespace) -> None:
    cluster.restart_api()


_COMMANDS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "up": _up, "down": _down, "status": _status, "shell": _shell, "images": _images, "restart-api": _restart_api,
    "kill": _node(nodes.kill), "revive": _node(nodes.revive), "cut": _node(network.cut),
    "cut-api": _node(network.cut_api), "mend": _node(network.mend),
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
