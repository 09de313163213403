"""Alerts fire when they should, survive what should not stop them, and say what to do."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.promtool import promtool
from tests.watch.known import FILES, FOREIGN, NOT_YET, asked, exported, recorded, rules

ALERTS = rules("alert")
CASES = Path(__file__).parent / "rules"
RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks.md"
REPLACED = re.compile(r"replaced|leads|brings another pod")


def name(rule: dict[str, Any]) -> str:
    found: str = rule.get("alert") or rule["record"]
    return found


def test_prometheus_reads_the_rules() -> None:
    promtool("check", "rules", FILES / "rules.yaml")


@pytest.mark.parametrize("alert", ALERTS, ids=name)
def test_an_alert_does_what_its_cases_say(alert: dict[str, Any]) -> None:
    promtool("test", "rules", CASES / f"{name(alert)}.yaml")


@pytest.mark.parametrize("alert", ALERTS, ids=name)
def test_an_alert_is_tried_firing_quiet_without_data_and_over_a_replacement(alert: dict[str, Any]) -> None:
    cases = [it["name"] for it in yaml.safe_load((CASES / f"{name(alert)}.yaml").read_text())["tests"]]
    assert any(it.startswith("fires") for it in cases)
    assert any(it.startswith("does not fire") for it in cases)
    assert any(it.startswith("missing data") for it in cases)
    assert any(REPLACED.search(it) for it in cases)


def test_there_are_no_other_cases() -> None:
    assert {path.stem for path in CASES.iterdir()} == {name(it) for it in ALERTS}


@pytest.mark.parametrize("alert", ALERTS, ids=name)
def test_an_alert_says_how_bad_it_is_and_what_to_do_first(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert re.search(r"\b[Ff]irst\b", alert["annotations"]["description"])
    assert alert["annotations"]["runbook_url"] == f"https://ktrain.dev/docs/runbooks.md#{name(alert).lower()}"


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    sections = re.findall(r"^## (\w+)$", RUNBOOKS.read_text(encoding="utf-8"), re.MULTILINE)
    assert sections == [name(it) for it in ALERTS]


@pytest.mark.parametrize("rule", [*rules("record"), *ALERTS], ids=name)
def test_a_rule_asks_for_nothing_that_nobody_exports(rule: dict[str, Any]) -> None:
    assert asked(rule["expr"]) <= exported() | recorded() | NOT_YET | set(FOREIGN)


def test_what_is_not_there_yet_is_not_there_yet() -> None:
    assert not NOT_YET & exported(), "delete it from NOT_YET"


@pytest.mark.parametrize("rule", rules("record"), ids=name)
def test_what_is_recorded_is_used(rule: dict[str, Any]) -> None:
    queries = [it["expr"] for it in (*rules("record"), *ALERTS)]
    boards = "".join(path.read_text(encoding="utf-8") for path in (FILES / "dashboards").glob("*.json"))
    assert name(rule) in boards or any(name(rule) in asked(query) for query in queries)


@pytest.mark.parametrize("rule", [*rules("record"), *ALERTS], ids=name)
def test_nothing_of_a_job_is_told_by_pod(rule: dict[str, Any]) -> None:
    """A pod that is replaced would begin the alert anew."""
    for labels in re.findall(r"\bby \(([^)]*)\)", rule["expr"]):
        assert "namespace" in labels
        assert "pod" not in labels.split(", ") or name(rule) == "KtrainGpuIdle"  # inside, to join; averaged by job
