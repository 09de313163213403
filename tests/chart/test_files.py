"""Alerts and dashboards that lie under files/ are installed as they are; where there are none, nothing is."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.chart import helm
from hack.cluster.shell import NeedError
from tests.chart.variants import Values

RULES = {
    "groups": [
        {"name": "recorded", "rules": [{"record": "ktrain:x", "expr": "sum(up)"}]},
        {
            "name": "ktrain", "interval": "30s",
            "rules": [
                {"alert": "Stalled", "expr": 'a{x="y"} > 1', "for": "2m", "annotations": {"summary": "{{ $labels.ktrain_job }} {{ $value }}"}},
                {"alert": "Slow", "expr": "b > 1"},
            ],
        },
    ]
}  # fmt: skip
DASHBOARD = {"title": "{{ not ours }}", "uid": "ktrain-job", "panels": []}


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The chart without files."""
    return shutil.copytree(helm.CHART, tmp_path / "ktrain", ignore=lambda *_: ["files"])


@pytest.fixture
def chart(bare: Path) -> Path:
    """The chart with files of this test."""
    (bare / "files" / "dashboards").mkdir(parents=True)
    (bare / "files" / "rules.yaml").write_text(yaml.safe_dump(RULES))
    (bare / "files" / "dashboards" / "job_overview.json").write_text(json.dumps(DASHBOARD))
    return bare


def rule(chart: Path, values: Values | None = None) -> dict[str, Any]:
    return helm.one(helm.objects(values, chart=chart), "PrometheusRule")


def kinds(chart: Path, values: Values | None = None, *, monitors: bool = True) -> set[str]:
    return {it["kind"] for it in helm.objects(values, chart=chart, monitors=monitors)}


def test_without_files_there_are_none(bare: Path) -> None:
    assert not {"PrometheusRule", "ConfigMap"} & kinds(bare)


def test_alerts_arrive_word_for_word(chart: Path) -> None:
    assert rule(chart)["spec"] == RULES


def test_an_alert_can_be_left_out(chart: Path) -> None:
    recorded, alerts = rule(chart, {"alerts": {"disabled": ["Slow"]}})["spec"]["groups"]
    assert recorded == RULES["groups"][0]
    assert [it["alert"] for it in alerts["rules"]] == ["Stalled"]
    assert alerts["interval"] == "30s"


def test_a_group_without_alerts_goes(chart: Path) -> None:
    found = rule(chart, {"alerts": {"disabled": ["Slow", "Stalled"]}})["spec"]["groups"]
    assert [it["name"] for it in found] == ["recorded"]


def test_an_alert_that_is_none_is_told(chart: Path) -> None:
    with pytest.raises(
        NeedError, match=r'alerts\.disabled has "Slwo", which is no alert of this chart; there are Stalled, Slow'
    ):
        helm.text({"alerts": {"disabled": ["Slwo"]}}, chart=chart)


def test_a_file_that_cannot_be_read_is_told(chart: Path) -> None:
    (chart / "files" / "rules.yaml").write_text("groups: [")
    with pytest.raises(NeedError, match=r"files/rules.yaml cannot be read"):
        helm.text(chart=chart)


def test_alerts_carry_the_labels_by_which_prometheus_chooses(chart: Path) -> None:
    found = rule(chart, {"alerts": {"additionalLabels": {"release": "prometheus"}}})
    assert found["metadata"]["labels"]["release"] == "prometheus"


def test_alerts_need_the_prometheus_operator(chart: Path) -> None:
    assert "PrometheusRule" not in kinds(chart, monitors=False)
    assert "PrometheusRule" not in kinds(chart, {"alerts": {"enabled": False}})
    with pytest.raises(NeedError, match=r"alerts\.enabled is true, but this cluster knows no"):
        helm.text({"alerts": {"enabled": True}}, chart=chart, monitors=False)


def test_dashboards_are_found_by_grafanas_sidecar(chart: Path) -> None:
    found = helm.one(helm.objects(chart=chart), "ConfigMap")
    assert found["metadata"]["name"] == "ktrain-dashboard-job-overview"
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["ktrain-job_overview.json"]) == DASHBOARD


def test_dashboards_go_where_they_are_told(chart: Path) -> None:
    values = {
        "dashboards": {"label": "dash", "value": "yes", "annotations": {"folder": "a"}, "namespace": "monitoring"}
    }
    meta = helm.one(helm.objects(values, chart=chart), "ConfigMap")["metadata"]
    assert (meta["labels"]["dash"], meta["annotations"], meta["namespace"]) == ("yes", {"folder": "a"}, "monitoring")
    assert "ConfigMap" not in kinds(chart, {"dashboards": {"enabled": False}})


def test_the_charts_own_files_are_all_installed() -> None:
    found = helm.objects()
    dashboards = {f"ktrain-{path.name}" for path in (helm.CHART / "files" / "dashboards").glob("*.json")}
    assert {name for it in found if it["kind"] == "ConfigMap" for name in it["data"]} == dashboards
    rules = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (helm.CHART / "files").glob("rules.yaml")]
    assert [it["spec"] for it in found if it["kind"] == "PrometheusRule"] == rules


def test_links_lead_to_where_the_runbooks_are_served() -> None:
    ours, own = helm.text(), helm.text({"runbooks": "https://wiki.example/ktrain/runbooks"})
    told = yaml.safe_load((helm.CHART / "values.yaml").read_text(encoding="utf-8"))["runbooks"]
    assert ours.count(told) == own.count("https://wiki.example/ktrain/runbooks") == 18 + 3
    assert "ktrain.dev/docs" not in own
    assert ours == own.replace("https://wiki.example/ktrain/runbooks", told)
