"""Dashboards: as the code has them, complete, and asking only for what there is."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from hack.cluster.shell import has
from hack.dashboards import linter
from hack.dashboards.board import Board
from hack.dashboards.boards import BOARDS
from hack.dashboards.panels import Panel, Query
from tests.watch.known import FILES, FOREIGN, asked, exported, filled, recorded, rules

PANELS = [pytest.param(panel, id=f"{board.name}: {panel.title}") for board in BOARDS for panel in board.panels]
ALL = [
    (f"{board.name}: {panel.title}: {query.legend or place}", query)
    for board in BOARDS
    for panel in board.panels
    for place, query in enumerate(panel.queries)
]
QUERIES = [pytest.param(query, id=name) for name, query in ALL]


def document(board: Board) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FILES / "dashboards" / f"{board.name}.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(params=BOARDS, ids=lambda board: board.name)
def board(request: pytest.FixtureRequest) -> Board:
    found: Board = request.param
    return found


def test_the_committed_dashboard_is_the_codes(board: Board) -> None:
    assert (FILES / "dashboards" / f"{board.name}.json").read_text(encoding="utf-8") == board.render(), (
        "run: make dashboards"
    )


def test_there_are_no_others() -> None:
    assert {path.stem for path in (FILES / "dashboards").iterdir()} == {it.name for it in BOARDS}


def test_it_can_be_put_into_any_grafana(board: Board) -> None:
    found = document(board)
    assert found["uid"] == f"ktrain-{board.name}"
    assert "id" not in found
    assert found["schemaVersion"] >= 41
    variables = [it["name"] for it in found["templating"]["list"]]
    assert variables[:3] == ["datasource", "namespace", "ktrain_job"]
    sources = re.findall(r'"uid": "([^"]*)"', json.dumps(found["panels"]))
    assert set(sources) == {"${datasource}"}


def test_panels_do_not_overlap(board: Board) -> None:
    places = [it["gridPos"] for it in document(board)["panels"]]
    taken = [
        (x, y) for it in places for x in range(it["x"], it["x"] + it["w"]) for y in range(it["y"], it["y"] + it["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert len({it["id"] for it in document(board)["panels"]}) == len(places)


def test_titles_differ(board: Board) -> None:
    titles = [panel.title for panel in board.panels]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows(panel: Panel) -> None:
    assert panel.unit
    assert panel.description.endswith(".")
    assert len(panel.description) > 10
    alerts = {rule["alert"] for rule in rules("alert")}
    assert set(re.findall(r"\bKtrain\w+", panel.description)) <= alerts


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_nothing_that_nobody_exports(query: Query) -> None:
    assert asked(filled(query.expr)) <= exported() | recorded() | set(FOREIGN)


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_looks_back_as_far_as_is_shown_or_for_a_stated_time(query: Query) -> None:
    """A fixed window in rate() is empty where scrapes are seldom, and blind where they are not."""
    windows = set(re.findall(r"\[([^\]]+)\]", query.expr))
    assert windows <= {"$__rate_interval", "$__range", "1h"}
    assert "1h" not in windows or "min_over_time" in query.expr


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_looks_for_a_rate_only_where_scrapes_are(query: Query) -> None:
    """Grafana's window holds four scrapes, but of a rule that is evaluated each minute one value or none."""
    assert not re.search(r"ktrain_job:[^\[]*\[\$__rate_interval\]", query.expr)


def test_the_jobs_board_is_about_the_chosen_job_only() -> None:
    (job,) = (it for it in BOARDS if it.name == "job")
    wanted = {("namespace", "ml"), ("ktrain_job", "gpt")}
    for expr in [query.expr for panel in job.panels for query in panel.queries] + [it.expr for it in job.annotations]:
        for name, matchers in selectors(filled(expr)):
            assert name in FOREIGN or wanted <= matchers, expr


def selectors(query: str) -> list[tuple[str | None, set[tuple[str, str]]]]:
    found: list[tuple[str | None, set[tuple[str, str]]]] = []

    def look(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append((node.name, {(it.name, it.value) for it in node.matchers.matchers}))
        return True

    promql_parser.walk(promql_parser.parse(query), look)
    return found


def test_each_metric_that_the_launcher_makes_for_people_is_shown_somewhere() -> None:
    shown = {name for _, query in ALL for name in asked(filled(query.expr))}
    shown |= {name for rule in rules("record") if rule["record"] in shown for name in asked(rule["expr"])}
    inner = {
        "ktrain_job_info", "ktrain_build_info", "ktrain_snapshots_rejected_total", "ktrain_attempt", "ktrain_launcher_state",
        "ktrain_rank_up", "ktrain_total_steps", "ktrain_samples_total", "ktrain_tokens_total", "ktrain_data_epoch",
        "ktrain_job_autoscale_held",
    }  # fmt: skip
    parts = {name for name in exported() if name.endswith(("_bucket", "_sum", "_count"))}
    assert exported() - parts - inner <= shown


@pytest.fixture(scope="session")
def lint() -> Path:
    if not has("go"):
        pytest.skip("Go is not installed; the dashboard-linter is built from source")
    return linter.ensure()


def linted(program: Path, path: Path) -> subprocess.CompletedProcess[str]:
    args: list[str | Path] = [program, "lint", "--strict", "--config", linter.RULES, path]
    return subprocess.run(args, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_grafanas_linter_has_nothing_to_say(board: Board, lint: Path) -> None:
    done = linted(lint, FILES / "dashboards" / f"{board.name}.json")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_grafanas_linter_is_not_blind(board: Board, lint: Path, tmp_path: Path) -> None:
    worse = tmp_path / "worse.json"
    worse.write_text(board.render().replace('"unit": "none"', '"unit": "parsec"'), encoding="utf-8")
    assert linted(lint, worse).returncode != 0
