"""ktrain's controller beside the control plane, as a process under its own ServiceAccount, so that tests can end it anywhere."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from hack.chart import helm
from hack.cluster import daemons
from hack.cluster.kubectl import apply, kubectl
from hack.cluster.layout import CONTROL, CONTROL_IP, RUN
from hack.cluster.pki import kubeconfig_document

Object = dict[str, Any]
ACCOUNT: Final = "ktrain-controller"
HOME: Final = "ktrain-system"  # its own namespace, with the Lease
RELEASE: Final = "ktrain-release"  # where the chart has installed it
SINGLE: Final = "steered"  # the same, for this namespace alone
AUDIT: Final = RUN / "audit.log"
_GROUP: Final = "rbac.authorization.k8s.io"


def rules(*, has_nodes: bool) -> list[Object]:
    """What it may do with jobs, their pods, their Events and their Workloads; and, cluster-wide, look at nodes."""
    kind, values = ("ClusterRole", {}) if has_nodes else ("Role", {"watchNamespace": "one"})
    return _of_chart(f"{ACCOUNT}-jobs", kind, values)


def lease_rules() -> list[Object]:
    """In its own namespace; of any name, because tests run several controllers beside one another."""
    found = _of_chart(f"{ACCOUNT}-leases", "Role", {})
    return [{key: value for key, value in rule.items() if key != "resourceNames"} for rule in found]


def _of_chart(name: str, kind: str, values: Object) -> list[Object]:
    """What tests find out about rights is true of those that users get."""
    rules: list[Object] = helm.one(helm.objects(values), kind, name)["rules"]
    return rules


def install(*, namespace: str = "") -> None:
    """Its namespace, account and rights; for one namespace, or for all."""
    who = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": HOME}
    names = [HOME, *([namespace] if namespace else [])]
    apply(*({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names))
    apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": HOME}})
    apply(*_granted("leases", HOME, lease_rules(), who))
    if namespace:
        apply(*_granted("jobs", namespace, rules(has_nodes=False), who))
    else:
        apply(*_granted("jobs", "", rules(has_nodes=True), who))


def look_at_nodes() -> None:
    """The right to do so, for a controller of one namespace that also knows nodes."""
    who = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": HOME}
    nodes = [rule for rule in rules(has_nodes=True) if rule["resources"] == ["nodes"]]
    apply(*_granted("nodes", "", nodes, who))


def _granted(name: str, namespace: str, what: list[Object], who: Object) -> Iterator[Object]:
    kind, meta = ("Role", {"namespace": namespace}) if namespace else ("ClusterRole", {})
    meta = {"name": f"{ACCOUNT}-{name}", **meta}
    yield {"apiVersion": f"{_GROUP}/v1", "kind": kind, "metadata": meta, "rules": what}
    reference = {"apiGroup": _GROUP, "kind": kind, "name": meta["name"]}
    yield {
        "apiVersion": f"{_GROUP}/v1",
        "kind": f"{kind}Binding",
        "metadata": meta,
        "roleRef": reference,
        "subjects": [who],
    }


def start(name: str, *flags: str, env: Mapping[str, str] | None = None) -> None:
    """One replica, with the account's token; its log is log/NAME.log."""
    daemons.start(
        name, CONTROL, sys.executable, "-m", "ktrain_controller", f"--lease-namespace={HOME}", f"--bind={CONTROL_IP}",
        f"--identity={name}", *flags, env={"KUBECONFIG": str(kubeconfig()), **(env or {})},
    )  # fmt: skip


def kubeconfig() -> Path:
    """With a token of its account, for a day."""
    token = kubectl("-n", HOME, "create", "token", ACCOUNT, "--duration=24h").strip()
    path = RUN / f"{ACCOUNT}.kubeconfig"
    path.write_text(json.dumps(kubeconfig_document({"token": token}, namespace=HOME)))
    return path


def audit_policy() -> Path:
    """What the API server writes down: every request of the controller, with what it wanted."""
    path = RUN / "audit.json"
    users = [f"system:serviceaccount:{namespace}:{ACCOUNT}" for namespace in (HOME, RELEASE, SINGLE)]
    # A watch that has begun is told at once; it ends with the controller.
    ours = {"level": "Request", "users": users, "omitStages": ["RequestReceived"]}
    document = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [ours, {"level": "None"}]}
    path.write_text(json.dumps(document))
    return path


def audited() -> list[Object]:
    """Its requests, the first one first."""
    return [json.loads(line) for line in AUDIT.read_text().splitlines()] if AUDIT.exists() else []
