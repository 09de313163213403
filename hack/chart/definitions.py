"""JSON Schemas that kubeconform reads: Kubernetes' from a package, the Prometheus operator's from its definitions."""

import json
from pathlib import Path
from typing import Final

import kubernetes_validate
import yaml

from hack.chart.helm import Object
from hack.cluster import monitoring

_FILE: Final = "{{.ResourceKind}}{{.KindSuffix}}.json"  # in kubeconform's own words
_KINDS: Final = ("podmonitor", "servicemonitor", "prometheusrule")


def of_kubernetes(version: str, folder: Path) -> str:
    """Where kubeconform finds the schemas of a minor version, which the folder gets."""
    package = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    target = folder / version
    target.mkdir()
    for path in package.glob("*.json"):
        # Told where it comes from, kubeconform would look for the rest of it there.
        text = path.read_text(encoding="utf-8").replace("/api/_definitions.json#", "_definitions.json#")
        (target / path.name).write_text(
            json.dumps({k: v for k, v in json.loads(text).items() if k != "$id"}), encoding="utf-8"
        )
    return f"{target}/{_FILE}"


def of_monitors(folder: Path) -> str:
    """The same for monitors and rules."""
    for kind in _KINDS:
        definition = yaml.safe_load(
            (monitoring.definitions() / f"monitoring.coreos.com_{kind}s.yaml").read_text(encoding="utf-8")
        )
        (version,) = definition["spec"]["versions"]
        schema = strict(version["schema"]["openAPIV3Schema"])
        (folder / f"{kind}-monitoring-v1.json").write_text(json.dumps(schema), encoding="utf-8")
    return f"{folder}/{_FILE}"


def strict(schema: Object) -> Object:
    """A definition's schema, which refuses what it does not name: an API server only drops it."""
    made = {
        key: _strict_each(value) if key == "properties" else strict(value) if isinstance(value, dict) else value
        for key, value in schema.items()
    }
    closed = "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields")
    return {**made, "additionalProperties": False} if closed else made


def _strict_each(properties: Object) -> Object:
    return {name: strict(value) for name, value in properties.items()}
