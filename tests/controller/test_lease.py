"""One controller leads at a time, whatever happens to clocks, processes and the API."""

import copy
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from kubernetes.client import ApiClient, Configuration

from ktrain.cluster import Cluster
from ktrain_controller.lease import Lease

PATH = "/apis/coordination.k8s.io/v1/namespaces/system/leases"


class Endpoint(BaseHTTPRequestHandler):
    """The API's leases, one of them, with its rules for conflicts; refuses all when `fault` is a status."""

    lease: ClassVar[dict[str, Any]] = {}
    version: ClassVar[int] = 0
    fault: ClassVar[int] = 0
    loses_reply: ClassVar[bool] = False
    intruder: ClassVar[dict[str, Any]] = {}  # written by somebody else right before the next patch
    lock = threading.Lock()
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # an answer in two packets waits 40 ms between them

    def do_GET(self) -> None:
        with self.lock:
            self.answer(*((200, self.lease) if self.lease else (404, {"message": "leases not found"})))

    def do_POST(self) -> None:
        body = self.read()
        with self.lock:
            if self.lease:
                return self.answer(409, {"message": "it already exists"})
            return self.store(body | {"metadata": body["metadata"] | {"uid": f"u{self.version}"}})

    def do_PATCH(self) -> None:
        body = self.read()
        with self.lock:
            if self.intruder:
                self.store(self.intruder, is_told=False)
                type(self).intruder = {}
            if not self.lease:
                return self.answer(404, {"message": "leases not found"})
            meta = self.lease["metadata"]
            if any(body["metadata"].get(key, meta[key]) != meta[key] for key in ("resourceVersion", "uid")):
                return self.answer(409, {"message": "the object has been modified"})
            return self.store({**self.lease, "spec": self.lease["spec"] | body["spec"]})

    def store(self, document: dict[str, Any], *, is_told: bool = True) -> None:
        if self.fault and is_told:
            return self.answer(self.fault, {})
        type(self).version += 1
        document = copy.deepcopy(document)
        document["metadata"]["resourceVersion"] = str(self.version)
        type(self).lease = document
        if is_told and self.loses_reply:
            self.close_connection = True
            return None
        return self.answer(200, document) if is_told else None

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return found

    def answer(self, status: int, document: dict[str, Any]) -> None:
        status, document = (self.fault, {"message": "no"}) if self.fault else (status, document)
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  -- http.server's name
        """Quiet."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Candidate:
    """One process: its clock, its wall clock, and what it was told."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.clock = Clock()
        self.wall_step = timedelta()
        self.told: list[str] = []
        self.said: list[str] = []
        self.stop = threading.Event()
        self.next = 0.0
        self.lease = Lease(
            cluster,
            "system",
            "ktrain-controller",
            name,
            clock=self.clock,
            wall=lambda: datetime.now(UTC) + self.wall_step,
            pause=lambda _seconds: self.stop.wait(0.005),
            on_start=lambda: self.told.append("start"),
            on_stop=lambda: self.told.append("stop"),
            say=self.said.append,
        )

    def try_if_due(self) -> None:
        if self.clock.now >= self.next:
            self.next = self.clock.now + self.lease.attempt()

    @property
    def leads(self) -> bool:
        return self.lease.is_leader


def pass_time(seconds: float, *candidates: Candidate) -> None:
    """For all alike, each of whom makes its attempts when it wants to."""
    for _ in range(round(seconds * 2)):
        for it in candidates:
            it.clock.now += 0.5
            it.try_if_due()


@pytest.fixture
def api() -> Iterator[type[Endpoint]]:
    endpoint = type("One", (Endpoint,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), endpoint)
    server.daemon_threads = True
    endpoint.port = server.server_port  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield endpoint
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cluster(api: type[Endpoint]) -> Iterator[Cluster]:
    settings = Configuration(host=f"http://127.0.0.1:{api.port}")  # type: ignore[attr-defined]
    settings.retries = False
    with ApiClient(settings) as client:
        yield Cluster(client, "system", "fake")


@pytest.fixture
def first(cluster: Cluster) -> Candidate:
    return Candidate(cluster, "first")


@pytest.fixture
def second(cluster: Cluster) -> Candidate:
    return Candidate(cluster, "second")


def test_of_two_candidates_one_leads(first: Candidate, second: Candidate) -> None:
    first.lease.attempt()
    second.lease.attempt()
    pass_time(60, first, second)
    assert (first.leads, second.leads) == (True, False)
    assert (first.told, second.told) == (["start"], [])


def test_of_many_at_the_same_moment_one_leads(cluster: Cluster) -> None:
    candidates = [Candidate(cluster, f"c{number}") for number in range(8)]
    threads = [threading.Thread(target=it.lease.attempt) for it in candidates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(it.leads for it in candidates) == 1


def test_the_record_is_what_kubectl_expects(api: type[Endpoint], first: Candidate) -> None:
    first.lease.attempt()
    spec = api.lease["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("first", 15, 0)
    assert datetime.fromisoformat(spec["renewTime"]).tzinfo is not None
    pass_time(4, first)
    assert api.lease["spec"]["acquireTime"] == spec["acquireTime"]
    assert api.lease["spec"]["renewTime"] > spec["renewTime"]


def test_a_leader_that_was_stopped_knows_on_waking_that_it_leads_no_more(first: Candidate, second: Candidate) -> None:
    first.lease.attempt()
    pass_time(2, second)
    first.clock.now += 20
    pass_time(14, second)
    assert (first.leads, second.leads) == (False, False)
    pass_time(2, second)
    assert (first.leads, second.leads) == (False, True)
    first.lease.attempt()
    assert (first.leads, first.told) == (False, ["start", "stop"])


def test_the_old_leader_ends_before_the_next_begins(first: Candidate, second: Candidate) -> None:
    first.lease.attempt()
    second.lease.attempt()
    led: list[tuple[bool, bool]] = []
    for _ in range(100):
        first.clock.now += 0.2
        second.clock.now += 0.2
        second.lease.attempt()
        led.append((first.leads, second.leads))
    assert (True, True) not in led
    assert led[-1] == (False, True)
    assert 4.5 < 0.2 * led.count((False, False)) < 5.5


def test_a_stopped_leader_that_nobody_replaced_begins_anew(first: Candidate) -> None:
    first.lease.attempt()
    first.clock.now += 20
    first.lease.attempt()
    assert (first.leads, first.told) == (True, ["start", "stop", "start"])


def test_a_leader_whose_renewal_took_too_long_begins_anew(
    first: Candidate, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It led before and leads after it; what it was asked in between nobody else will ask again."""
    first.lease.attempt()
    pass_time(8, first)
    patch = cluster.patch

    def slow(*args: Any, **kwargs: Any) -> Any:
        first.clock.now += 4
        assert not first.leads
        return patch(*args, **kwargs)

    monkeypatch.setattr(cluster, "patch", slow)
    first.clock.now += 8
    first.lease.attempt()
    assert first.leads
    assert first.told == ["start", "stop", "start"]


def test_release_hands_over_at_once(api: type[Endpoint], first: Candidate, second: Candidate) -> None:
    first.lease.attempt()
    second.lease.attempt()
    first.lease.release()
    assert (first.leads, first.told, api.lease["spec"]["holderIdentity"]) == (False, ["start", "stop"], "")
    second.lease.attempt()
    assert (second.leads, second.lease.transitions) == (True, 1)


def test_releasing_another_ones_lease_does_nothing(api: type[Endpoint], first: Candidate, second: Candidate) -> None:
    first.lease.attempt()
    second.lease.release()
    assert api.lease["spec"]["holderIdentity"] == "first"


def test_the_leader_stops_acting_before_it_lets_go(api: type[Endpoint], cluster: Cluster) -> None:
    seen: list[tuple[bool, str]] = []
    lease = Lease(
        cluster, "system", "ktrain-controller", "first", clock=Clock(), wall=lambda: datetime.now(UTC),
        pause=time.sleep, on_stop=lambda: seen.append((lease.is_leader, api.lease["spec"]["holderIdentity"])),
    )  # fmt: skip
    lease.attempt()
    lease.release()
    assert seen == [(False, "first")]


@pytest.mark.parametrize("minutes", [10, -10])
def test_steps_of_wall_clocks_neither_give_nor_take_a_lease(first: Candidate, second: Candidate, minutes: int) -> None:
    first.lease.attempt()
    second.lease.attempt()
    first.wall_step = timedelta(minutes=minutes)
    pass_time(20, first, second)
    second.wall_step = timedelta(minutes=-3 * minutes)
    pass_time(20, first, second)
    assert (first.told, second.told) == (["start"], [])


def test_a_leader_whose_api_is_away_for_8_s_leads_on(api: type[Endpoint], first: Candidate) -> None:
    first.lease.attempt()
    pass_time(4.5, first)
    api.fault = 503
    pass_time(8, first)
    api.fault = 0
    pass_time(2, first)
    assert (first.told, first.lease.trouble) == (["start"], "")


def test_a_leader_whose_api_is_away_for_12_s_leads_no_more(api: type[Endpoint], first: Candidate) -> None:
    first.lease.attempt()
    api.fault = 503
    pass_time(12, first)
    assert (first.leads, first.told) == (False, ["start", "stop"])
    api.fault = 0
    pass_time(2, first)
    assert (first.leads, first.told) == (True, ["start", "stop", "start"])


def test_an_api_that_is_gone_is_survived_and_told_once(first: Candidate, api: type[Endpoint]) -> None:
    gone = Configuration(host="http://127.0.0.1:1")
    gone.retries = False
    it = Candidate(Cluster(ApiClient(gone), "system", "gone"), "first")
    pass_time(10, it)
    assert (it.leads, len(it.said)) == (False, 1)
    assert "does not answer" in it.said[0]


def test_a_write_between_our_read_and_our_write_wins(api: type[Endpoint], first: Candidate, second: Candidate) -> None:
    first.lease.attempt()
    pass_time(2, second)
    api.intruder = copy.deepcopy(api.lease)
    api.intruder["spec"]["holderIdentity"] = "third"
    pass_time(16, second)
    assert (second.leads, api.lease["spec"]["holderIdentity"]) == (False, "third")
    assert "at the same moment" in second.said[0]


def test_a_leader_that_reads_another_name_stops_at_once(api: type[Endpoint], first: Candidate) -> None:
    first.lease.attempt()
    api.lease["spec"]["holderIdentity"] = "third"
    first.lease.attempt()
    assert (first.leads, first.told) == (False, ["start", "stop"])


def test_a_write_whose_reply_was_lost_is_found_the_next_time(api: type[Endpoint], first: Candidate) -> None:
    api.loses_reply = True
    first.lease.attempt()
    assert not first.leads
    api.loses_reply = False
    first.lease.attempt()
    assert (first.leads, first.lease.transitions) == (True, 0)


def test_a_refusal_names_the_rights_and_is_tried_again(api: type[Endpoint], first: Candidate) -> None:
    api.fault = 403
    pass_time(6, first)
    assert not first.leads
    (sentence,) = first.said
    assert "get, create and patch on leases of coordination.k8s.io" in sentence
    api.fault = 0
    pass_time(2, first)
    assert (first.leads, first.lease.trouble) == (True, "")


def test_a_deleted_lease_stays_with_its_leader(api: type[Endpoint], first: Candidate, second: Candidate) -> None:
    first.lease.attempt()
    pass_time(4, first, second)
    api.lease = {}
    second.lease.attempt()
    assert not second.leads
    pass_time(20, first, second)
    assert (first.told, second.told) == (["start"], [])


def test_a_deleted_lease_of_a_dead_leader_is_taken_after_its_time(
    api: type[Endpoint], first: Candidate, second: Candidate
) -> None:
    first.lease.attempt()
    second.lease.attempt()
    api.lease = {}
    pass_time(16, second)
    assert not second.leads
    pass_time(2, second)
    assert second.leads


@pytest.mark.parametrize(
    "lease",
    [
        {"metadata": {"resourceVersion": "1", "uid": "u"}, "spec": {}},
        {"metadata": {"resourceVersion": "1", "uid": "u"}, "spec": {"holderIdentity": None}},
        {"metadata": {"resourceVersion": "1", "uid": "u"}, "spec": {"holderIdentity": ""}},
    ],
    ids=["empty", "null", "released"],
)
def test_a_lease_without_a_holder_is_free(api: type[Endpoint], first: Candidate, lease: dict[str, Any]) -> None:
    api.lease = lease
    first.lease.attempt()
    assert first.leads


def test_an_answer_that_is_no_lease_is_survived(api: type[Endpoint], first: Candidate) -> None:
    api.lease = {"kind": "Nonsense"}
    first.lease.attempt()
    assert not first.leads
    assert "cannot be renewed" in first.said[0]


def test_running_renews_until_told_to_stop_and_then_lets_go(
    api: type[Endpoint], first: Candidate, second: Candidate
) -> None:
    runner = threading.Thread(target=first.lease.run, args=(first.stop,))
    runner.start()
    for _ in range(500):
        first.clock.now += 1
        if api.version > 20:
            break
        time.sleep(0.01)
    assert first.leads
    first.stop.set()
    runner.join(5)
    second.lease.attempt()
    assert (first.told[-1], first.leads, second.leads) == ("stop", False, True)
