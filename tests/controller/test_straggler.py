"""What is told of a rank that the others wait for, and when nothing is."""

from dataclasses import replace
from typing import Any

import pytest

from ktrain_controller.decide import OF_RUNNING, decide
from ktrain_controller.decision import Decision, Record
from ktrain_controller.metrics import Metrics
from ktrain_controller.observation import Fleet, Limits, Observation, Silence
from ktrain_controller.policies.straggler import AGAIN_SECONDS, MOST, TOLD, straggler
from ktrain_controller.sample import Sample
from ktrain_controller.state import State, read_state
from tests.controller.seen import NOW, failed, job, node, paced, pod, policy, seen

BUSY = (0.1, 0.1, 0.1, 0.4)


def slow(*busy: float, per_pod: int = 2, data: float = 0.0, **fields: Any) -> Observation:
    """Two beats that lie 65 s apart; by default rank 3, on the second pod, is slow."""
    work = busy or BUSY
    old = paced(100, *work, per_pod=per_pod, data=data, heard_at=NOW - 66)
    new = paced(300, *work, per_pod=per_pod, data=data, heard_at=NOW - 1)
    return seen(**{"earlier": old, "beat": new, **fields})


def told(what: Observation) -> Decision:
    found = decide(what).decision
    assert found is not None
    assert (found.policy, found.reason, found.deed) == ("straggler", "Straggler", Record())
    return found


def test_the_rank_its_pod_and_its_node_are_named() -> None:
    assert told(slow()).message == (
        "rank 3 (pod demo-worker-1, node node-1) makes the others wait: "
        "busy for 0.4 s of each step, 4.0 times as long as the median rank; seen over 65 s"
    )


def test_it_is_said_whether_it_is_the_data() -> None:
    assert "as long as the median rank; 80% of it waits for data;" in told(slow(data=0.8)).message


def test_others_of_its_pod_are_told_of_together() -> None:
    found = told(slow(0.1, 0.2, 0.1, 0.1, 0.3, 0.4, per_pod=2))
    assert found.message.startswith("rank 5 (node rank 2)")
    assert "; slow in its pod too: rank 4;" in found.message
    assert set(found.state.asked) == {"straggler:1/5", "straggler:1/4"}


def test_a_job_whose_ranks_keep_pace_is_left_alone() -> None:
    assert decide(slow(0.1, 0.11, 0.1, 0.12)).decision is None


# -- how often ---------------------------------------------------------------------------------------------------------
def test_a_rank_is_told_of_once_in_an_attempt() -> None:
    state = told(slow()).state
    assert decide(slow(state=state)).decision is None
    assert decide(slow(state=read_state(state.encode()), now=NOW + 9 * AGAIN_SECONDS)).decision is None


def test_another_rank_is_told_of_as_well() -> None:
    found = told(slow(0.5, 0.1, 0.1, 0.1, state=told(slow()).state))
    assert found.message.startswith("rank 0 (pod demo-worker-0")
    assert set(found.state.asked) == {"straggler:1/3", "straggler:1/0"}


def test_in_the_next_attempt_it_is_told_again_but_not_within_the_hour() -> None:
    state, again = told(slow()).state, job(attempt=2)
    assert decide(slow(state=state, job=again, now=NOW + AGAIN_SECONDS - 1)).decision is None
    found = told(slow(state=state, job=again, now=NOW + AGAIN_SECONDS + 1))
    assert set(found.state.asked) == {"straggler:2/3"}


def test_what_others_asked_is_kept() -> None:
    state = State(asked={"stacks": 1.0, "notice:node-1": 2.0})
    assert told(slow(state=state)).state.asked == {"stacks": 1.0, "notice:node-1": 2.0, "straggler:1/3": NOW}


def test_the_memory_has_an_end() -> None:
    asked = {f"{TOLD}1/{rank}": NOW for rank in range(100, 100 + MOST)}
    assert decide(slow(state=State(asked=asked))).decision is None
    told(slow(state=State(asked=dict(list(asked.items())[1:]))))


@pytest.mark.parametrize("name", ["straggler:", "straggler:x", "straggler:1", "straggler:1/x", "straggler:/"])
def test_whatever_is_written_there_harms_nobody(name: str) -> None:
    told(slow(state=State(asked={name: NOW})))


# -- when not ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "held",
    [
        slow(earlier=None), slow(beat=None), slow(limits=Limits(straggler=66)), slow(fleet=Fleet(is_blind=True)),
        slow(silence=Silence(NOW - 5)), slow(pods=(pod(0),)), slow(job=job(is_suspended=True)), slow(job=job(phase="Succeeded")),
        slow(beat=replace(paced(300, *BUSY), state="stopping")), slow(beat=replace(paced(300, *BUSY), epoch=2)),
        slow(beat=paced(110, *BUSY)),
    ],
    ids=["first beat", "no beat", "too soon", "blind", "silent", "not whole", "suspended", "ended", "stopping", "epoch",
         "few steps"],
)  # fmt: skip
def test_nothing_is_told(held: Observation) -> None:
    assert decide(held).decision is None


SCALE = {"query": "q", "target": 0.8, "min": 1, "max": 4, "cooldown": "10m"}
LEAVING = {"node-0": node("node-0"), "node-1": node("node-1", notice="karpenter.sh/disrupted")}


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (slow(ends=(failed(),)), "PodFailed"),
        (slow(policy=policy(deadline="1h"), state=State(started=NOW - 3601)), "DeadlineExceeded"),
        (slow(nodes={"node-1": node("node-1", is_ready=False, since=NOW - 40)}), "NodeLost"),
        (slow(nodes=LEAVING), "NodeLeaving"),
        (slow(policy=policy(nodes={"min": 1, "max": 4}, autoscale=SCALE), sample=Sample(NOW - 5, 1.6, streak=3)), "Rescaled"),
    ],
    ids=["failure", "deadline", "node", "notice", "autoscale"],
)  # fmt: skip
def test_whatever_else_is_to_be_done_comes_first(other: Observation, reason: str) -> None:
    found = decide(other).decision
    assert found is not None
    assert found.reason == reason
    assert OF_RUNNING[-1] is straggler


def test_nobody_is_made_to_look_later_or_sooner() -> None:
    calm, busy = slow(0.1, 0.1, 0.1, 0.1), slow()
    assert decide(calm).look_again == decide(busy).look_again


def test_it_is_counted_by_its_policy() -> None:
    metrics = Metrics()
    metrics.decided(told(slow()))
    labels = {"policy": "straggler", "deed": "record"}
    assert metrics.registry.get_sample_value("ktrain_controller_decisions_total", labels) == 1
