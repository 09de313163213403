"""kubectl as admin, where the control plane is."""

import json
import subprocess
from typing import Any

from hack.cluster.layout import ADMIN, bin_folder
from hack.cluster.shell import in_control, run


def kubectl(*args: str, stdin: str | None = None) -> str:
    """Its output; NeedError when it fails."""
    return run(*command(*args), stdin=stdin)


def command(*args: str) -> list[str]:
    """The whole command line."""
    return in_control(bin_folder() / "kubectl", "--kubeconfig", ADMIN, *args)


def get(*args: str) -> Any:
    """An object or a list, as data."""
    return json.loads(kubectl("get", *args, "-o", "json"))


def apply(*documents: dict[str, Any]) -> None:
    """Server-side."""
    items = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(items))


def is_ready() -> bool:
    """Whether the API server answers."""
    return subprocess.run(command("get", "--raw", "/readyz"), capture_output=True, check=False).returncode == 0
