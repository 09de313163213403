"""Who may do what: the controller what its page says, people what `ktrain` does, and nobody reads Secrets."""

import re
from collections.abc import Iterable
from typing import Any

import pytest

from hack.chart import helm
from hack.cluster import controller
from ktrain.doctor.rights import RIGHTS, WITH_KUEUE
from tests.chart.variants import EVERYTHING, NAMESPACED, VARIANTS, Values

Rights = set[tuple[str, str]]
ROW = re.compile(r"^\| `([\w/]+)`(.*?) \| ([\w, ]+) \|$", re.MULTILINE)
KINDS = {"Role", "ClusterRole"}


def rights(rules: Iterable[dict[str, Any]]) -> Rights:
    return {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


def role(values: Values, kind: str, name: str) -> Rights:
    return rights(helm.one(helm.objects(values), kind, name)["rules"])


def of_page() -> Rights:
    text = (helm.ROOT / "docs" / "controller.md").read_text(encoding="utf-8")
    table = text.partition("| resource | verbs |")[2].partition("\n\n")[0]
    return {(resource, verb) for resource, _, verbs in ROW.findall(table) for verb in verbs.split(", ")}


def test_the_controller_may_do_exactly_what_its_page_says() -> None:
    granted = role({}, "ClusterRole", "ktrain-controller-jobs") | role({}, "Role", "ktrain-controller-leases")
    assert granted == of_page()


def test_tests_on_a_cluster_run_with_the_charts_rights() -> None:
    ours = rights([*controller.rules(has_nodes=True), *controller.lease_rules()])
    assert ours == of_page()


@pytest.mark.parametrize("values", [{}, NAMESPACED], ids=["all", "one namespace"])
def test_a_dry_run_could_change_nothing(values: Values) -> None:
    kind = "Role" if values else "ClusterRole"
    dry = role({**values, "controller": {"dryRun": True}}, kind, "ktrain-controller-jobs")
    full = role(values, kind, "ktrain-controller-jobs")
    assert dry == {it for it in full if it[1] in {"get", "list", "watch"} or it[0] == "events"}


def test_in_one_namespace_nothing_is_asked_of_the_cluster() -> None:
    found = helm.objects(NAMESPACED)
    assert not [it["kind"] for it in found if it["kind"].startswith("Cluster")]
    jobs = role(NAMESPACED, "Role", "ktrain-controller-jobs")
    assert jobs | {("nodes", "list"), ("nodes", "watch")} == role({}, "ClusterRole", "ktrain-controller-jobs")
    assert rights(controller.rules(has_nodes=False)) == jobs
    for kind in ("Role", "RoleBinding"):
        assert helm.one(found, kind, "ktrain-controller-jobs")["metadata"]["namespace"] == "research"
        assert helm.one(found, kind, "ktrain-controller-leases")["metadata"]["namespace"] == helm.NAMESPACE


@pytest.mark.parametrize("variant", VARIANTS)
def test_nobody_gets_what_leads_to_more(variant: str) -> None:
    rules = [rule for it in helm.objects(VARIANTS[variant]) if it["kind"] in KINDS for rule in it["rules"]]
    resources = {resource for rule in rules for resource in rule["resources"]}
    verbs = {verb for rule in rules for verb in rule["verbs"]}
    assert not resources & {"*", "secrets", "pods/exec", "pods/attach", "serviceaccounts/token", "nodes/proxy"}
    assert not verbs & {"*", "escalate", "bind", "impersonate"}
    assert ("pods", "create") not in rights(rules)


def test_a_lease_of_another_cannot_be_taken() -> None:
    for rule in helm.one(helm.objects(), "Role", "ktrain-controller-leases")["rules"]:
        assert rule.get("resourceNames") == ["ktrain-controller"] or rule["verbs"] == ["create"]


@pytest.mark.parametrize(("values", "kind"), [({}, "ClusterRole"), (NAMESPACED, "Role")], ids=["all", "one namespace"])
def test_editors_may_do_what_ktrain_does(values: Values, kind: str) -> None:
    """But three things, of which docs/install.md tells."""
    used = {(it.resource, verb) for it in (*RIGHTS, *WITH_KUEUE) for verb in it.verbs}
    left_out = used - role(values, kind, "ktrain-editor")
    assert left_out == {("secrets", "get"), ("nodes", "list"), ("workloads", "patch")}


def test_viewers_only_look() -> None:
    found = role({}, "ClusterRole", "ktrain-viewer")
    assert {verb for _, verb in found} == {"get", "list", "watch"}
    assert {("pytorchjobs", "list"), ("pods/log", "get"), ("events", "list"), ("workloads", "list")} <= found


def test_bindings_name_the_account_that_the_pods_have() -> None:
    found = helm.objects(EVERYTHING)
    pod = helm.one(found, "Deployment")["spec"]["template"]["spec"]
    for it in found:
        if it["kind"].endswith("Binding"):
            (who,) = it["subjects"]
            assert (who["name"], who["namespace"]) == (pod["serviceAccountName"], helm.NAMESPACE)
            assert it["roleRef"]["name"] == it["metadata"]["name"]
