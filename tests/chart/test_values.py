"""Values: each has a comment, a place in the schema and a row in the README; wrong ones are refused with their path."""

import inspect
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from hack.chart import helm, readme
from hack.cluster.shell import NeedError
from ktrain.names import DEFAULT_METRICS_PORT
from ktrain_controller.__main__ import main
from tests.chart.variants import Values

SCHEMA = json.loads((helm.CHART / "values.schema.json").read_text(encoding="utf-8"))
DEFAULTS = yaml.safe_load((helm.CHART / "values.yaml").read_text(encoding="utf-8"))


def leaves(node: Any, *path: str) -> Iterator[tuple[str, ...]]:
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from leaves(value, *path, key)
    else:
        yield path


def shapes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if isinstance(node.get("properties"), dict):
            yield node
        for value in node.values():
            yield from shapes(value)


def test_each_value_has_a_comment() -> None:
    told = {tuple(it.path.split(".")) for it in readme.values()}
    without = [path for path in leaves(DEFAULTS) if not any(path[:depth] in told for depth in range(1, len(path) + 1))]
    assert without == []


def test_the_readme_has_the_table_that_the_comments_make() -> None:
    """After a change on purpose: `make schema`."""
    old = readme.README.read_text(encoding="utf-8")
    assert readme.page(old) == old


def test_the_schema_knows_each_value_and_no_other() -> None:
    for shape in shapes(SCHEMA):
        assert shape["additionalProperties"] is False, sorted(shape["properties"])
    told = {path: set(shape["properties"]) for path, shape in named(SCHEMA)}
    for path, keys in told.items():
        assert set(at(DEFAULTS, path)) | ({"global"} if not path else set()) == keys, path


def named(shape: dict[str, Any], *path: str) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Objects of the schema that are objects of values.yaml with the same keys."""
    if "properties" in shape and path != ("affinity",):
        yield path, shape
        for key, inner in shape["properties"].items():
            yield from named(inner, *path, key)


def at(node: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        node = node[key]
    return node


@pytest.mark.parametrize("path", [path for path, _ in named(SCHEMA)], ids=lambda path: ".".join(path) or "root")
def test_a_value_that_is_taken_away_is_missed(path: tuple[str, ...]) -> None:
    """`--set port=null`, or an upgrade with the values of an older chart; of amounts none may be left."""
    gone = sorted(set(at(DEFAULTS, path)) - {"resources"})
    values: Values = dict.fromkeys(gone)
    for key in reversed(path):
        values = {key: values}
    with pytest.raises(NeedError) as error:
        helm.text(values)
    assert [name for name in gone if f"{'.'.join(path) or '(root)'}: {name} is required" not in str(error.value)] == []


def test_defaults_are_the_programs() -> None:
    flags = {name: it.default for name, it in inspect.signature(main).parameters.items()}
    own = DEFAULTS["controller"]
    assert (own["workers"], own["requestsPerSecond"], own["actionsPerMinute"], DEFAULTS["port"]) == (
        flags["workers"], flags["requests_per_second"], flags["actions_per_minute"], flags["port"],
    )  # fmt: skip
    assert DEFAULTS["networkPolicy"]["trainingPorts"] == [DEFAULT_METRICS_PORT]


WRONG: dict[str, tuple[Values, str]] = {
    "unknown": ({"replcas": 3}, "(root): Additional property replcas is not allowed"),
    "unknown, deeper": ({"image": {"digst": "x"}}, "image: Additional property digst is not allowed"),
    "too few": ({"replicas": 0}, "replicas: Must be greater than or equal to 1"),
    "a text for a number": ({"replicas": "two"}, "replicas: Invalid type. Expected: integer, given: string"),
    "no digest": ({"image": {"digest": "sha256:1234"}}, "image.digest: Does not match pattern"),
    "a tag in the repository": ({"image": {"repository": "a.b:1"}}, "image.repository: Does not match pattern"),
    "a third state": ({"podMonitor": {"enabled": "maybe"}}, "podMonitor.enabled: podMonitor.enabled must be one of the following"),
    "another scheme": ({"controller": {"prometheus": "ftp://a"}}, "controller.prometheus: Does not match pattern"),
    "a password": ({"controller": {"prometheus": "http://a:b@c"}}, "controller.prometheus: Does not match pattern"),
    "no flag": ({"controller": {"extraArgs": ["x"]}}, "controller.extraArgs.0: Does not match pattern"),
    "a low port": ({"port": 80}, "port: Must be greater than or equal to 1024"),
    "no port": ({"networkPolicy": {"dnsPorts": [70000]}}, "networkPolicy.dnsPorts.0: Must be less than or equal to 65535"),
    "no namespace": ({"watchNamespace": "A B"}, "watchNamespace: Does not match pattern"),
    "no label": ({"commonLabels": {"a": "b c"}}, "commonLabels.a: Does not match pattern"),
    "no amount": ({"resources": {"limits": {"memory": "much"}}}, "resources.limits.memory: Does not match pattern"),
    "a short token": ({"serviceAccount": {"tokenSeconds": 60}}, "serviceAccount.tokenSeconds: Must be greater than"),
    "no object": ({"extraObjects": [{"kind": "Secret"}]}, "extraObjects.0: apiVersion is required"),
    "a negative amount": ({"resources": {"limits": {"cpu": -1}}}, "resources.limits.cpu: Must be greater than or equal to 0"),
    "a name that no Service may have": ({"fullnameOverride": "1ktrain"}, "fullnameOverride: Does not match pattern"),
    "a name that leaves no room": ({"fullnameOverride": "k" * 53}, "fullnameOverride: String length must be less than or equal to 52"),
    "no port after the colon": ({"controller": {"prometheus": "http://a:"}}, "controller.prometheus: Does not match pattern"),
    "a port too far": ({"controller": {"prometheus": "http://a:65536"}}, "controller.prometheus: Does not match pattern"),
    "never": ({"podMonitor": {"interval": "0s"}}, "podMonitor.interval: Does not match pattern"),
    "seconds before hours": ({"serviceMonitor": {"interval": "1s1h"}}, "serviceMonitor.interval: Does not match pattern"),
    "nobody": ({"networkPolicy": {"metricsFrom": [{}]}}, "networkPolicy.metricsFrom.0: Must have at least 1 properties"),
    "an unknown peer": ({"trainingNetworkPolicy": {"metricsFrom": [{"podselector": {}}]}}, "trainingNetworkPolicy.metricsFrom.0: Additional property"),
    "a secret without a name": ({"image": {"pullSecrets": [{"name": ""}]}}, "image.pullSecrets.0.name: Does not match pattern"),
    "no value of a label": ({"dashboards": {"value": "a b"}}, "dashboards.value: Does not match pattern"),
    "no region": ({"check": {"storage": {"region": "a: b"}}}, "check.storage.region: Does not match pattern"),
    "no address": ({"runbooks": "docs/runbooks.md"}, "runbooks: Does not match pattern"),
    "a folder as storage": ({"check": {"storage": {"url": "/tmp"}}}, "check.storage.url: Does not match pattern"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_value_is_refused_with_its_path(case: str) -> None:
    values, told = WRONG[case]
    with pytest.raises(NeedError) as error:
        helm.text(values)
    assert f"- {told}" in str(error.value)
