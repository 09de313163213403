"""Whatever Helm takes as the name of a release or a namespace, Kubernetes takes the objects."""

import re
from itertools import chain

import kubernetes_validate
import pytest
import yaml

from hack.chart import helm

SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
NAMES = {
    "2024": "ktrain-2024",
    "true": "true-ktrain",
    "9-ktrain": "ktrain-9-ktrain",
    "team.a": "team-a-ktrain",
    "ktrain": "ktrain",
    "a-ktrain.b": "a-ktrain-b",
    f"{'a' * 32}-{'b' * 20}": f"{'a' * 32}-ktrain",
    f"ktrain-{'a' * 30}----{'b' * 12}": f"ktrain-{'a' * 30}",
}


@pytest.mark.parametrize("release", NAMES)
def test_a_release_of_any_name_can_be_installed(release: str) -> None:
    found = [it for it in yaml.safe_load_all(helm.text(release=release, namespace="123")) if it]
    for it in found:
        if not it["apiVersion"].startswith("monitoring."):
            kubernetes_validate.validate(it, "1.37", strict=True)
        assert it["metadata"].get("namespace", "123") == "123"
        assert len(it["metadata"]["name"]) <= 63
        assert all(isinstance(word, str) for word in chain(*it["metadata"]["labels"].items()))
    service = helm.one(found, "Service")["metadata"]["name"]
    assert SERVICE.fullmatch(service)
    assert service == f"{NAMES[release]}-controller"


@pytest.mark.parametrize("name", ["null", "no", "e3"])
def test_an_overridden_name_is_text(name: str) -> None:
    found = [it["metadata"]["name"] for it in helm.objects({"fullnameOverride": name})]
    assert [it for it in found if not isinstance(it, str)] == []
    assert name in found
