"""What a replica serves of itself, as a process."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktrain_controller import series
from tests.controller.operator import Ledger, Operator, Replica, until


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def api() -> Iterator[Ledger]:
    with Ledger() as made:
        yield made


def test_it_is_ready_when_its_lists_are_here_and_tells_of_itself_all_that_is_written_down(
    api: Ledger, tmp_path: Path
) -> None:
    operator = Operator(api)
    operator.add_nodes("node-0")
    operator.submit("demo")
    api.refuse(1000, 503)
    with Replica(api, tmp_path, "first") as replica:
        until("it serves", lambda: "event=serving" in replica.log)
        until("it has asked", lambda: "event=watch " in replica.log)
        assert ask(replica.port, "/readyz")[0] == 503
        assert ask(replica.port, "/healthz") == (200, "ok\n")
        api.faults.refusals.clear()
        until("it leads", lambda: replica.leads)
        assert ask(replica.port, "/readyz") == (200, "ok\n")
        page = ask(replica.port, "/metrics")[1]
        assert [
            it.name for it in (*series.OWN, *series.OF_JOBS[:-1]) if f"# TYPE {it.name} {it.kind}" not in page
        ] == []
        assert 'ktrain_job_nodes{namespace="research",ktrain_job="demo"} 2' in page
