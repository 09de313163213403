"""Every panel shows something of a run in which a rank was killed, a pod failed and a node was lost."""

from collections.abc import Iterator

import pytest

from hack.dashboards.boards import BOARDS
from tests.controller.operator import NAMESPACE
from tests.promtool import needs
from tests.watch.known import FOREIGN, asked, filled, rules
from tests.watch.real import JOB, Prometheus, everything

pytestmark = pytest.mark.slow
CHOSEN = {"ml": NAMESPACE, "gpt": JOB}


def asked_for_in_the_end(query: str) -> set[str]:
    """With what recording rules ask for in its place."""
    names = asked(query)
    behind = [asked_for_in_the_end(rule["expr"]) for rule in rules("record") if rule["record"] in names]
    return names.union(*behind)


def chosen(expr: str, *, namespace: str = NAMESPACE) -> str:
    """Of the job that runs."""
    return filled(expr).replace('"ml"', f'"{namespace}"').replace('"gpt"', f'"{JOB}"')


def cannot_be_shown(expr: str) -> bool:
    return bool(asked_for_in_the_end(filled(expr)) & set(FOREIGN))


PANELS = [
    pytest.param(chosen(query.expr, namespace="ktrain-system" if board.name == "controller" else NAMESPACE), id=f"{board.name}: {panel.title}: {query.legend or place}")
    for board in BOARDS
    for panel in board.panels
    for place, query in enumerate(panel.queries)
    if not cannot_be_shown(query.expr)
]  # fmt: skip
ANNOTATIONS = [pytest.param(chosen(it.expr), id=it.name) for board in BOARDS for it in board.annotations]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    needs("prometheus")
    with everything(tmp_path_factory.mktemp("real")) as found:
        yield found


@pytest.mark.parametrize("query", [*PANELS, *ANNOTATIONS])
def test_a_query_has_an_answer(query: str, prometheus: Prometheus) -> None:
    assert prometheus.numbers(query), query


def test_only_what_cannot_be_shown_here_is_left_out() -> None:
    """Two panels need GPUs."""
    panels = {(b.name, p.title) for b in BOARDS for p in b.panels for q in p.queries if cannot_be_shown(q.expr)}
    assert panels == {("fleet", "GPUs that work, by job"), ("job", "GPUs that work, by pod")}


def test_prometheus_could_evaluate_every_rule(prometheus: Prometheus) -> None:
    found = [rule for group in prometheus.get("/api/v1/rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule.get("lastError", "") for rule in found if rule["health"] != "ok"} == {}
    assert len(found) == len(rules("alert")) + len(rules("record"))


def test_a_job_that_is_well_again_has_no_alert(prometheus: Prometheus) -> None:
    assert [it["labels"] for it in prometheus.get("/api/v1/alerts")["alerts"] if it["state"] == "firing"] == []
