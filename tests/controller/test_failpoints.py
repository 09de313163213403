"""A controller dies between any two of its writes; whoever leads next finishes what was begun, and does nothing twice."""

import ast
import json
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeGuard

import pytest

import ktrain_controller
from ktrain.names import ANNOTATION_ATTEMPT, ANNOTATION_REQUEST
from ktrain_controller.failpoint import Point
from ktrain_controller.state import Incident, State
from tests.controller.fake_objects import Object
from tests.controller.operator import Ledger, Operator, Replica, attempt_of, state_of, until

DEMO = "demo"
COMMIT = 8  # that the launcher tells of


class Pages:
    """A launcher's /status and a Prometheus, which both say what the test wants."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.is_wedged = False
        self.wanted = 1.0  # what a query is answered with
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(pages.answer(self.path)).encode()
                self.send_response(503 if pages.is_wedged and self.path == "/status" else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, path: str) -> Object:
        now = self.clock()
        if path == "/status":
            rank = {"rank": 0, "phase": "train", "step": 9, "last_step_at": now}
            saved = {"checkpoint_step": COMMIT, "checkpoint_at": now}
            return {
                "state": "running",
                "epoch": 1,
                "attempt": 1,
                "now": now,
                "hang_limit": 600,
                "ranks": [rank | saved],
            }
        value = now if "timestamp" in path else self.wanted
        result = [{"metric": {}, "value": [now, str(value)]}]
        return {"status": "success", "data": {"resultType": "vector", "result": result}}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass(slots=True)
class Field:
    """Where it happens."""

    api: Ledger
    operator: Operator
    pages: Pages

    @property
    def job(self) -> Object:
        return self.api.job(DEMO)

    @property
    def running(self) -> list[Object]:
        return [it for it in self.api.pods(DEMO) if it["status"]["phase"] == "Running"]

    def asked(self) -> list[str | None]:
        return [it["metadata"]["annotations"].get(ANNOTATION_REQUEST) for it in self.running]

    def attempts(self) -> list[str]:
        return [it["metadata"]["annotations"][ANNOTATION_ATTEMPT] for it in self.running]


@dataclass(frozen=True, slots=True)
class Scenario:
    """What breaks, and what has to have come of it in the end."""

    reason: str  # of its Event, which is told once
    breaks: Callable[[Field], object]
    attempt: int = 2
    pods: int = 2
    spec: dict[str, Any] = field(default_factory=dict)
    has_failed: bool = False  # before, without a commit since: the next failure is the whole gang's
    is_wedged: bool = False  # its launcher, from the beginning


def lose_the_node(here: Field) -> None:
    here.operator.add_nodes("node-1")
    here.operator.set_node("node-0", is_ready=False, since=here.api.clock() - 100)


def announce_the_nodes_end(here: Field) -> None:
    here.operator.set_node("node-0", is_ready=True, taints=["ktrain.dev/leaving"])


def ask_for_fewer_nodes(here: Field) -> None:
    here.pages.wanted = 0.5


def crash(here: Field) -> None:
    here.operator.fail("demo-worker-1", 139)


def wait(_: Field) -> None:
    return


ELASTIC = {
    "nodes": {"min": 2, "max": 3},
    "autoscale": {"query": "wanted", "target": 1, "min": 2, "max": 3, "cooldown": "10m"},
}
QUICK = {"restart": {"max": 5, "window": "1h", "backoff": {"base": "1s", "cap": "1s"}}}
LOST = Scenario("NodeLost", lose_the_node)
LEAVING = Scenario("NodeLeaving", announce_the_nodes_end, attempt=1)
STALLED = Scenario("Stalled", wait, attempt=1, is_wedged=True)
HANG = Scenario("Hang", wait, is_wedged=True)
RESCALED = Scenario("Rescaled", ask_for_fewer_nodes, attempt=1, spec=ELASTIC)
RELEASED = Scenario("Resumed", crash, spec=QUICK, has_failed=True)
GIVEN_UP = Scenario("RestartsExhausted", crash, attempt=1, pods=0, spec={"restart": {"max": 0}})

QUICKLY = [
    (Point.AFTER_INTENT, LOST),
    (Point.BEFORE_VERDICT, GIVEN_UP),
]
SLOWLY = [
    *((point, LOST) for point in (Point.BEFORE_INTENT, Point.BETWEEN_DELETES, Point.AFTER_DELETES, Point.BEFORE_EVENT)),
    *((point, HANG) for point in (Point.BEFORE_INTENT, Point.AFTER_INTENT, Point.BETWEEN_DELETES, Point.AFTER_DELETES)),
    *((point, RESCALED) for point in (Point.BEFORE_RESIZE, Point.AFTER_RESIZE)),
    *((point, RELEASED) for point in (Point.AFTER_SUSPEND, Point.AFTER_RESUME, Point.BEFORE_EVENT)),
    *((point, GIVEN_UP) for point in (Point.AFTER_VERDICT, Point.BEFORE_EVENT)),
    *((Point.AFTER_REQUEST, it) for it in (LEAVING, STALLED)),
]
CASES = [
    *(pytest.param(*it, id=f"{it[0]}-{it[1].reason}") for it in QUICKLY),
    *(pytest.param(*it, id=f"{it[0]}-{it[1].reason}", marks=pytest.mark.slow) for it in SLOWLY),
]


@pytest.fixture
def here() -> Iterator[Field]:
    with Ledger() as api:
        pages = Pages(api.clock)
        with Operator(api, ip="127.0.0.1") as operator:
            operator.add_nodes("node-0")
            api.give_lease("first")
            yield Field(api, operator, pages)
        pages.close()


def begin(here: Field, scenario: Scenario) -> None:
    """A job that trains."""
    before = Incident(here.api.clock() - 100, is_charged=True, what="boom")
    state = State(incidents=(before,), commit=COMMIT) if scenario.has_failed else None
    here.pages.is_wedged = scenario.is_wedged
    nodes = 3 if scenario is RESCALED else 2
    here.operator.submit(DEMO, state=state, metrics={"port": here.pages.port}, **scenario.spec)
    until("it runs", lambda: len(here.running) == nodes)


@pytest.mark.parametrize(("point", "scenario"), CASES)
def test_the_next_leader_finishes_and_nothing_is_done_twice(
    here: Field, point: Point, scenario: Scenario, tmp_path: Path
) -> None:
    begin(here, scenario)
    prometheus = f"--prometheus=http://127.0.0.1:{here.pages.port}"
    with (
        Replica(here.api, tmp_path, "first", prometheus, point=point) as first,
        Replica(here.api, tmp_path, "second", prometheus) as second,
    ):
        until("both know the job", lambda: first.ending or (first.leads and second.is_synced))
        scenario.breaks(here)
        until("the first is dead", lambda: first.ending is not None)
        assert first.ending == -signal.SIGKILL, first.log
        asked = here.asked()
        here.api.give_lease("second")
        until("all is well again", lambda: has_converged(here, scenario), tell=lambda: tell(here, second))
        settle(here)
        assert has_converged(here, scenario), tell(here, second)
    assert here.api.raises(DEMO) == list(range(2, scenario.attempt + 1))
    assert max(here.api.deletions().values(), default=0) <= 1
    assert here.asked() == asked or point is not Point.AFTER_REQUEST, "asked anew, under another name"


def has_converged(here: Field, scenario: Scenario) -> bool:
    is_told = here.api.events(DEMO)[scenario.reason] == 1
    has_pods = here.attempts() == [str(scenario.attempt)] * scenario.pods
    has_failed = [it["type"] for it in here.job["status"]["conditions"] if it["status"] == "True"] == ["Failed"]
    return is_told and has_pods and has_failed == (scenario is GIVEN_UP) and attempt_of(here.job) == scenario.attempt


def tell(here: Field, second: Replica) -> str:
    return f"{here.api.events(DEMO)} attempts {here.attempts()} {state_of(here.job)}\n{second.log}"


def settle(here: Field) -> None:
    """Until the leader has had the time to do it all again."""
    count = here.api.count("PATCH", path="leases")
    until("another renewal", lambda: here.api.count("PATCH", path="leases") > count)


# -- nothing is forgotten ----------------------------------------------------------------------------------------------
def test_every_point_has_a_scenario() -> None:
    assert {point for point, _ in (*QUICKLY, *SLOWLY)} == set(Point)


def test_every_point_is_reached_by_the_code_and_no_other() -> None:
    folder = Path(ktrain_controller.__file__).parent
    calls = [call for path in folder.rglob("*.py") for call in ast.walk(ast.parse(path.read_text())) if is_reach(call)]
    assert {ast.unparse(call.args[0]) for call in calls} == {f"Point.{point.name}" for point in Point}


def is_reach(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in {"reach", "failpoint.reach"}
