"""Two controllers and many jobs: whichever is killed or stopped, each job is interrupted once for each cause."""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktrain.names import ANNOTATION_ATTEMPT
from tests.controller.operator import Ledger, Operator, Replica, attempt_of, until

JOBS = tuple(f"job-{number:02}" for number in range(20))
SLOWLY = "--requests-per-second=8"  # there is a middle then
LEASE_SECONDS = 15.0


@pytest.fixture
def api() -> Iterator[Ledger]:
    with Ledger() as api, Operator(api) as operator:
        operator.add_nodes("node-0", "node-1")
        api.give_lease("first")
        for name in JOBS:
            operator.submit(name)
        until("all run", lambda: running(api) == Counter({(name, "1"): 2 for name in JOBS}))
        yield api


def running(api: Ledger) -> Counter[tuple[str, str]]:
    """Pods of (job, attempt)."""
    return Counter(
        (it["metadata"]["labels"]["ktrain.dev/job"], it["metadata"]["annotations"][ANNOTATION_ATTEMPT])
        for it in api.all("pods")
        if it["status"]["phase"] == "Running"
    )


def lose_a_node(api: Ledger) -> None:
    """Where the second pod of each job is."""
    operator = Operator(api)
    operator.add_nodes("node-2")
    operator.set_node("node-1", is_ready=False, since=api.clock() - 100)


def begin(api: Ledger, first: Replica, second: Replica) -> None:
    until("both know the jobs", lambda: first.leads and second.is_synced)
    lose_a_node(api)
    until("it is in the middle", lambda: len(api.deletions()) >= len(JOBS) // 4)


def assert_each_was_replaced_once(api: Ledger, second: Replica) -> None:
    def are_well() -> bool:
        return running(api) == Counter({(name, attempt): 1 for name in JOBS for attempt in "12"})

    until("all jobs are whole again", are_well, seconds=60, tell=lambda: f"{running(api)}\n{second.log}")
    until("all is told", lambda: all(api.events(name) == {"NodeLost": 1} for name in JOBS), seconds=30)
    assert {name: api.raises(name) for name in JOBS} == {name: [2] for name in JOBS}
    assert set(api.deletions().values()) == {1}
    assert len(api.deletions()) == len(JOBS)
    assert {attempt_of(api.job(name)) for name in JOBS} == {2}


def test_the_next_one_goes_on_where_a_killed_leader_was(api: Ledger, tmp_path: Path) -> None:
    with Replica(api, tmp_path, "first", SLOWLY) as first, Replica(api, tmp_path, "second") as second:
        begin(api, first, second)
        first.signal(signal.SIGKILL)
        assert len(api.deletions()) < len(JOBS), "it was too fast to be killed in the middle"
        api.give_lease("second")
        assert_each_was_replaced_once(api, second)


@pytest.mark.slow
def test_a_leader_that_wakes_up_after_its_lease_does_nothing_any_more(api: Ledger, tmp_path: Path) -> None:
    with Replica(api, tmp_path, "first", SLOWLY) as first, Replica(api, tmp_path, "second", SLOWLY) as second:
        begin(api, first, second)
        first.signal(signal.SIGSTOP)
        assert len(api.deletions()) < len(JOBS), "it was too fast to be stopped in the middle"
        until("the other leads", lambda: second.leads, seconds=LEASE_SECONDS + 10)
        first.signal(signal.SIGCONT)  # while the other is in the middle, too
        until("it has noticed", lambda: "event=leads_no_more" in first.log)
        assert_each_was_replaced_once(api, second)
        assert first.ending is None
