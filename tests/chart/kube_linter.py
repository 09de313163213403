"""kube-linter's rules that are on by default, as assertions: it is no module that can be built here.

A rule takes the rendered objects and tells what breaks it. Those about kinds that the chart does not have (Ingress,
autoscalers) hold by themselves, and `test_scores` notes it when such a kind appears.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

Object = dict[str, Any]
Rule = Callable[[list[Object]], Iterator[str]]
KINDS: Final = {
    "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Deployment", "Job", "Lease", "NetworkPolicy", "PodDisruptionBudget",
    "PodMonitor", "PrometheusRule", "Role", "RoleBinding", "Service", "ServiceAccount", "ServiceMonitor",
}  # fmt: skip
"""That the rules were written for."""

_SENSITIVE: Final = re.compile(r"/|/(boot|dev|etc|lib|proc|sys|usr)|.*docker\.sock")


def rules() -> dict[str, Rule]:
    """By kube-linter's names."""
    return {
        "dangling-networkpolicy": lambda it: _selects(it, "NetworkPolicy", lambda spec: spec["podSelector"]["matchLabels"]),
        "dangling-service": lambda it: _selects(it, "Service", lambda spec: spec["selector"]),
        "dangling-servicemonitor": _monitored,
        "deprecated-service-account-field": lambda it: _pods(it, lambda pod: "serviceAccount" not in pod),
        "docker-sock, sensitive-host-mounts": lambda it: _pods(it, _mounts_nothing_of_the_host),
        "drop-net-raw-capability": lambda it: _containers(it, lambda c: c["securityContext"]["capabilities"]["drop"] == ["ALL"]),
        "duplicate-env-var": lambda it: _containers(it, lambda c: _unique([e["name"] for e in c.get("env", [])])),
        "env-var-secret": lambda it: _containers(it, lambda c: not [e for e in c.get("env", []) if "secret" in e["name"].lower()]),
        "host-ipc, host-network, host-pid": lambda it: _pods(it, lambda pod: not {"hostIPC", "hostNetwork", "hostPID"} & pod.keys()),
        "invalid-target-ports": _target_ports,
        "job-ttl-seconds-after-finished": lambda it: _specs(it, "Job", lambda spec: spec["ttlSecondsAfterFinished"] > 0),
        "latest-tag": lambda it: _containers(it, lambda c: "@sha256:" in c["image"]),
        "liveness-port, readiness-port, startup-port": lambda it: _containers(it, _probes_name_a_port),
        "mismatching-selector": lambda it: _specs(it, "Deployment", _selects_its_own),
        "no-anti-affinity": lambda it: _specs(it, "Deployment", _keeps_apart),
        "no-extensions-v1beta": lambda it: (x["kind"] for x in it if "extensions" in x["apiVersion"]),
        "no-liveness-probe, no-readiness-probe": lambda it: _specs(it, "Deployment", _is_probed),
        "no-read-only-root-fs": lambda it: _containers(it, lambda c: c["securityContext"]["readOnlyRootFilesystem"]),
        "non-existent-service-account": lambda it: _pods(it, lambda pod: pod["serviceAccountName"] in _accounts(it)),
        "non-isolated-pod": _isolated,
        "pdb-max-unavailable, pdb-unhealthy-pod-eviction-policy": lambda it: _specs(it, "PodDisruptionBudget", _lets_go),
        "privilege-escalation-container": lambda it: _containers(it, lambda c: c["securityContext"]["allowPrivilegeEscalation"] is False),
        "privileged-container, unsafe-proc-mount": lambda it: _containers(it, lambda c: not {"privileged", "procMount"} & c["securityContext"].keys()),
        "privileged-ports, ssh-port": lambda it: _containers(it, lambda c: all(p["containerPort"] > 1024 for p in c.get("ports", []))),
        "read-secret-from-env-var": lambda it: _containers(it, lambda c: "envFrom" not in c),
        "run-as-non-root": lambda it: _containers(it, lambda c: c["securityContext"]["runAsNonRoot"] and c["securityContext"]["runAsUser"] > 0),
        "unsafe-sysctls": lambda it: _pods(it, lambda pod: "sysctls" not in pod["securityContext"]),
        "unset-cpu-requirements, unset-memory-requirements": lambda it: _containers(it, _is_sized),
    }  # fmt: skip


def _of(found: list[Object], kind: str) -> Iterator[Object]:
    return (it for it in found if it["kind"] == kind)


def _templates(found: list[Object]) -> Iterator[Object]:
    return (it["spec"]["template"] for it in found if it["kind"] in {"Deployment", "Job"})


def _specs(found: list[Object], kind: str, holds: Callable[[Object], Any]) -> Iterator[str]:
    return (it["metadata"]["name"] for it in _of(found, kind) if not holds(it["spec"]))


def _pods(found: list[Object], holds: Callable[[Object], Any]) -> Iterator[str]:
    return (str(it["metadata"]["labels"]) for it in _templates(found) if not holds(it["spec"]))


def _containers(found: list[Object], holds: Callable[[Object], Any]) -> Iterator[str]:
    every = (container for it in _templates(found) for container in it["spec"]["containers"])
    return (it["name"] for it in every if not holds(it))


def _selects(found: list[Object], kind: str, wanted: Callable[[Object], Object]) -> Iterator[str]:
    pods = [it["metadata"]["labels"] for it in _templates(found)]
    for it in _of(found, kind):
        if not any(wanted(it["spec"]).items() <= labels.items() for labels in pods):
            yield it["metadata"]["name"]


def _monitored(found: list[Object]) -> Iterator[str]:
    services = [it["metadata"]["labels"] for it in _of(found, "Service")]
    for it in _of(found, "ServiceMonitor"):
        if not any(it["spec"]["selector"]["matchLabels"].items() <= labels.items() for labels in services):
            yield it["metadata"]["name"]


def _isolated(found: list[Object]) -> Iterator[str]:
    policies = [it["spec"]["podSelector"]["matchLabels"].items() for it in _of(found, "NetworkPolicy")]
    for it in _templates(found):
        labels = it["metadata"]["labels"]
        if not any(wanted <= labels.items() for wanted in policies):
            yield str(labels)


def _target_ports(found: list[Object]) -> Iterator[str]:
    named = {port["name"] for it in _templates(found) for c in it["spec"]["containers"] for port in c.get("ports", [])}
    ports = (port for it in _of(found, "Service") for port in it["spec"]["ports"])
    return (port["targetPort"] for port in ports if port["targetPort"] not in named)


def _mounts_nothing_of_the_host(pod: Object) -> bool:
    return not [it for it in pod["volumes"] if "hostPath" in it and _SENSITIVE.fullmatch(it["hostPath"]["path"])]


def _accounts(found: list[Object]) -> set[str]:
    return {it["metadata"]["name"] for it in _of(found, "ServiceAccount")}


def _probes(container: Object) -> list[Object]:
    return [container[it]["httpGet"] for it in ("livenessProbe", "readinessProbe", "startupProbe") if it in container]


def _probes_name_a_port(container: Object) -> bool:
    names = {port["name"] for port in container.get("ports", [])}
    return all(it["port"] in names for it in _probes(container))


def _is_probed(spec: Object) -> bool:
    (container,) = spec["template"]["spec"]["containers"]
    live, ready, _ = _probes(container)
    return bool(live != ready)


def _selects_its_own(spec: Object) -> bool:
    wanted: Object = spec["selector"]["matchLabels"]
    labels: Object = spec["template"]["metadata"]["labels"]
    return wanted.items() <= labels.items()


def _keeps_apart(spec: Object) -> bool:
    terms = spec["template"]["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    return any(it["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname" for it in terms)


def _lets_go(spec: Object) -> bool:
    return bool(spec["maxUnavailable"] and spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow")


def _is_sized(container: Object) -> bool:
    wanted = {"cpu", "memory", "ephemeral-storage"}
    return all(container["resources"][part].keys() >= wanted for part in ("requests", "limits"))


def _unique(names: list[str]) -> bool:
    return len(names) == len(set(names))
