"""The flags that the chart gives are flags that the programs take, and the pods are what the programs need."""

from collections.abc import Callable
from typing import Any

import pytest
import typer
from kubernetes.config import incluster_config

from hack.chart import helm
from ktrain_controller import __main__ as program
from ktrain_controller import check
from tests.chart.variants import BARE, EVERYTHING, NAMESPACED, VARIANTS, Values


def taken(main: Callable[..., None], args: list[str]) -> dict[str, Any]:
    """What the program makes of them."""
    app = typer.Typer()
    app.command()(main)
    return typer.main.get_command(app).make_context("program", list(args)).params


def pod(values: Values, kind: str = "Deployment") -> dict[str, Any]:
    found: dict[str, Any] = helm.one(helm.objects(values), kind)["spec"]["template"]["spec"]
    return found


def args(values: Values, kind: str = "Deployment") -> list[str]:
    found: list[str] = pod(values, kind)["containers"][0]["args"]
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_controller_takes_its_flags(variant: str) -> None:
    words = args(VARIANTS[variant])
    assert words[:3] == ["python", "-m", program.__spec__.name.removesuffix(".__main__")]  # type: ignore[union-attr]
    assert taken(program.main, words[3:])["lease_name"] == "ktrain-controller"


def test_values_arrive() -> None:
    told = taken(program.main, args(EVERYTHING)[3:])
    assert (told["prometheus"], told["dry_run"], told["node_seconds"]) == (
        "http://prometheus.monitoring:9090",
        True,
        60,
    )
    assert taken(program.main, args(NAMESPACED)[3:])["namespace"] == "research"


def test_the_check_takes_its_flags() -> None:
    words = args(EVERYTHING, "Job")
    assert words[:3] == ["python", "-m", check.__name__]
    told = taken(check.main, words[3:])
    assert (told["storage"], told["endpoint"], told["region"]) == ("s3://bucket/runs", "http://s3.example:9000", "eu")
    assert taken(check.main, args(NAMESPACED, "Job")[3:])["namespace"] == "research"


def test_the_check_reaches_what_the_controller_does() -> None:
    """A private CA of one is the other's: a storage behind it could not be checked."""
    controller, checks = pod(EVERYTHING), pod(EVERYTHING, "Job")
    assert checks["volumes"] == controller["volumes"]
    for key in ("env", "volumeMounts"):
        assert checks["containers"][0][key] == controller["containers"][0][key]


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_the_token_is_where_the_client_looks_for_it_and_ends(kind: str) -> None:
    found = pod({}, kind)
    assert found["automountServiceAccountToken"] is False
    mounts = {it["name"]: it["mountPath"] for it in found["containers"][0]["volumeMounts"]}
    (volume,) = (it for it in found["volumes"] if it["name"] == "account")
    token, certificate, namespace = volume["projected"]["sources"]
    assert f"{mounts['account']}/{token['serviceAccountToken']['path']}" == incluster_config.SERVICE_TOKEN_FILENAME
    assert token["serviceAccountToken"]["expirationSeconds"] == 3600
    assert (
        f"{mounts['account']}/{certificate['configMap']['items'][0]['path']}" == incluster_config.SERVICE_CERT_FILENAME
    )
    assert namespace["downwardAPI"]["items"][0]["path"] == "namespace"


def test_the_lease_in_the_chart_is_the_one_that_the_controller_writes() -> None:
    """So that `helm uninstall` takes it away; without a spec, so that `helm upgrade` leaves the holder alone."""
    lease = helm.one(helm.objects(), "Lease")
    assert lease["metadata"]["name"] == taken(program.main, args({})[3:])["lease_name"]
    assert "spec" not in lease


def test_a_single_replica_has_no_budget_that_would_hold_up_a_drain() -> None:
    assert "PodDisruptionBudget" in {it["kind"] for it in helm.objects()}
    assert "PodDisruptionBudget" not in {it["kind"] for it in helm.objects({"replicas": 1})}


def test_without_its_optional_parts_only_the_program_is_left() -> None:
    kinds = sorted(it["kind"] for it in helm.objects(BARE))
    assert kinds == ["Deployment", "Job", "Lease", "Service"]
