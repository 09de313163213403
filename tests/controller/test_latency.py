"""How long a restart took, told once."""

from dataclasses import replace

from ktrain_controller.decision import Decision, Record, Restart, Suspend
from ktrain_controller.latency import Latency
from ktrain_controller.state import Release, State
from tests.controller.seen import NOW, job, pod, seen


def decided(deed: Record | Restart | Suspend) -> Decision:
    return Decision("hang", "Hang", "x", deed, State())


def test_a_restart_takes_until_all_pods_run_again() -> None:
    told: list[float] = []
    latency = Latency(told.append)
    latency.begin(decided(Restart()), seen())
    latency.look(seen(now=NOW + 1))  # the old pods still run
    latency.look(seen(now=NOW + 2, pods=(pod(0, attempt=2),)))
    latency.look(seen(now=NOW + 3, pods=(pod(0, attempt=2), pod(1, attempt=2))))
    latency.look(seen(now=NOW + 4, pods=(pod(0, attempt=2), pod(1, attempt=2))))
    assert told == [3]


def test_a_pause_of_ours_is_part_of_it_and_a_users_ends_it() -> None:
    told: list[float] = []
    latency = Latency(told.append)
    latency.begin(decided(Suspend()), seen())
    held = seen(now=NOW + 5, job=job(is_suspended=True), pods=(), state=State(release=Release(NOW + 9, "x")))
    latency.look(held)
    latency.look(seen(now=NOW + 12, pods=(pod(0, attempt=2), pod(1, attempt=2))))
    latency.begin(decided(Suspend()), seen())
    latency.look(replace(held, state=State()))
    latency.look(seen(now=NOW + 12, pods=(pod(0, attempt=2), pod(1, attempt=2))))
    assert told == [12]


def test_what_restarts_nothing_takes_no_time() -> None:
    told: list[float] = []
    latency = Latency(told.append)
    latency.begin(decided(Record()), seen())
    latency.look(seen(pods=(pod(0, attempt=2), pod(1, attempt=2))))
    assert told == []
