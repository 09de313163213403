"""A dry run tells by Events what it would do, and asks for nothing that the chart gives it no right to."""

from pathlib import Path

from tests.controller.operator import Ledger, Operator, Replica, attempt_of, until


def test_a_dry_run_tells_and_changes_nothing(tmp_path: Path) -> None:
    with Ledger() as api, Operator(api) as operator:
        operator.add_nodes("node-0", "node-1")
        api.give_lease("dry")
        operator.submit("gpt")
        with Replica(api, tmp_path, "dry", "--dry-run") as dry:
            until("it leads", lambda: dry.leads)
            operator.set_node("node-1", is_ready=False, since=api.clock() - 100)
            until("it tells", lambda: api.events("gpt") == {"NodeLost": 1}, tell=lambda: dry.log)
        (told,) = api.all("events")
        assert told["message"].startswith("dry run: would have acted: ")
        assert attempt_of(api.job("gpt")) == 1
        asked = {(it.method, it.path.split("?")[0].rsplit("/", 1)[-1]) for it in api.requests if it.method != "GET"}
        assert {(method, plural) for method, plural in asked if plural not in {"leases", "ktrain-controller"}} == {
            ("POST", "events")
        }
