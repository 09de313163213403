"""The Prometheus operator, and a Prometheus that it configures: monitors and rules do what they do in a cluster that has it.

Both are processes beside the control plane. Debian's Prometheus has no discovery in Kubernetes, so this one is built too,
with that discovery alone, as Prometheus' `plugins.yml` allows: with those of all clouds it takes ten minutes and 3 GB.
"""

import base64
import gzip
import shutil
from pathlib import Path
from typing import Any, Final

from hack.cluster import daemons, program
from hack.cluster.kubectl import apply, get, kubectl
from hack.cluster.layout import ADMIN, API, CONTROL, CONTROL_IP, HERE, PKI, RUN, WATCH
from hack.cluster.shell import in_control, succeeds, wait

Object = dict[str, Any]
NAME: Final = "ktrain"
NAMESPACE: Final = "monitoring"
URL: Final = f"http://{CONTROL_IP}:9092"
_GROUP: Final = "rbac.authorization.k8s.io"
_OPERATOR: Final = "github.com/prometheus-operator/prometheus-operator"
_PROMETHEUS: Final = "github.com/prometheus/prometheus"
_FOLDER: Final = RUN / "monitoring"
_TOKEN: Final = _FOLDER / "token"
_MODULE: Final = HERE / "go" / WATCH[1]
_WATCHING: Final = "prometheus-watching"
_SELECTORS: Final = ("Selector", "NamespaceSelector")
_DISCOVERIES: Final = {
    "plugins/plugins.go": f'package plugins\n\nimport _ "{_PROMETHEUS}/discovery/kubernetes"\n',
}
_RULES: Final = f"prometheus-{NAME}-rulefiles-0"


def ensure() -> tuple[Path, Path]:
    """Both programs, the operator first."""
    return program.built(f"{_OPERATOR}/cmd/operator", module=_MODULE), _prometheus()


def definitions() -> Path:
    """The folder with those of the operator's kinds."""
    return program.sources(_OPERATOR, module=_MODULE) / "example" / "prometheus-operator-crd"


def start_operator() -> None:
    """It, its kinds, and a Prometheus of which it makes the configuration."""
    _end()  # what a run that was broken off has left
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(definitions()))
    operator, _ = ensure()
    _FOLDER.mkdir()
    daemons.start(
        "prometheus-operator", CONTROL, operator, f"--web.listen-address={CONTROL_IP}:9093",
        env={"KUBECONFIG": str(ADMIN)},
    )  # fmt: skip
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    apply(*_rights(), _object())


def start_prometheus(*monitors: str) -> None:
    """As soon as the operator has written down these monitors and the rules."""
    wait("the operator's configuration", lambda: all(it in configuration() for it in monitors) and bool(_rules()))
    folder = _FOLDER / "rules"
    folder.mkdir()
    for name, text in _rules().items():
        (folder / name).write_text(text)
    _TOKEN.write_text(kubectl("-n", NAMESPACE, "create", "token", NAME, "--duration=24h").strip())
    file = _FOLDER / "prometheus.yml"
    file.write_text(_in_place(configuration(), rules=folder))
    daemons.start(
        _WATCHING, CONTROL, _prometheus(), f"--config.file={file}", f"--storage.tsdb.path={_FOLDER}/data",
        f"--web.listen-address={URL.removeprefix('http://')}",
    )  # fmt: skip
    wait("Prometheus", lambda: succeeds(in_control("curl", "-sf", f"{URL}/-/ready")))


def stop() -> None:
    """Both, and the operator's kinds with all that is of them."""
    _end()
    kubectl("delete", "--ignore-not-found", "-f", str(definitions()))
    kubectl("delete", "--ignore-not-found", "namespace", NAMESPACE, "--wait=false")
    kubectl("delete", "--ignore-not-found", "clusterrole,clusterrolebinding", f"{NAME}-{NAMESPACE}")


def _end() -> None:
    for name in (_WATCHING, "prometheus-operator"):
        daemons.stop(name)
    shutil.rmtree(_FOLDER, ignore_errors=True)


def _in_place(text: str, *, rules: Path) -> str:
    """What the pod's config-reloader fills in, and where the rules are."""
    own = {"$(SHARD)": "0", "$(POD_NAME)": f"prometheus-{NAME}-0", f"/etc/prometheus/rules/{_RULES}": str(rules)}
    for name, value in own.items():
        text = text.replace(name, value)
    return text


def configuration() -> str:
    """What the operator has made of all monitors that there are; empty before it has."""
    found = get("-n", NAMESPACE, "secrets", "--field-selector", f"metadata.name=prometheus-{NAME}")["items"]
    packed = found[0].get("data", {}).get("prometheus.yaml.gz", "") if found else ""
    return gzip.decompress(base64.b64decode(packed)).decode() if packed else ""


def _rules() -> dict[str, str]:
    found = get("-n", NAMESPACE, "configmaps", "--field-selector", f"metadata.name={_RULES}")["items"]
    return dict(found[0].get("data") or {}) if found else {}


def _object() -> Object:
    """It chooses everything, and has no pods: the process has its part."""
    server = {
        "host": API,
        "tlsConfig": {"caFile": str(PKI / "ca.crt")},
        "authorization": {"credentialsFile": str(_TOKEN)},
    }
    every: Object = {f"{kind}{what}": {} for kind in ("podMonitor", "serviceMonitor", "rule") for what in _SELECTORS}
    how = {"evaluationInterval": "5s", "serviceDiscoveryRole": "EndpointSlice", "apiserverConfig": server}
    spec = {"replicas": 0, "serviceAccountName": NAME, **how, **every}
    meta = {"name": NAME, "namespace": NAMESPACE}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "metadata": meta, "spec": spec}


def _rights() -> list[Object]:
    """Of Prometheus: to find what it scrapes."""
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    looks = {"apiGroups": ["", "discovery.k8s.io"], "resources": ["pods", "services", "endpoints", "endpointslices"]}
    rules = [{**looks, "verbs": ["get", "list", "watch"]}]
    meta = {"name": f"{NAME}-{NAMESPACE}"}
    role = {"apiGroup": _GROUP, "kind": "ClusterRole", "name": meta["name"]}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": NAMESPACE}},
        {"apiVersion": f"{_GROUP}/v1", "kind": "ClusterRole", "metadata": meta, "rules": rules},
        {"apiVersion": f"{_GROUP}/v1", "kind": "ClusterRoleBinding", "metadata": meta, "roleRef": role, "subjects": [account]},
    ]  # fmt: skip


def _prometheus() -> Path:
    """Built in a copy of its sources, in which the list of discoveries is another one."""
    return program.built_with(_DISCOVERIES, f"{_PROMETHEUS}/cmd/prometheus", module=HERE / "go" / WATCH[0])
