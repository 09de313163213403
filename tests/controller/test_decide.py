"""What the controller decides, by what it sees."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrain.cluster import WORKLOAD
from ktrain.jobs.workload import Workload
from ktrain.request import Ask
from ktrain_controller.beat import RankBeat
from ktrain_controller.decide import decide
from ktrain_controller.decision import (
    Decision,
    GiveUp,
    Record,
    Remove,
    Request,
    Resize,
    Restart,
    Resume,
    Suspend,
    Sweep,
)
from ktrain_controller.incidents import SETTLE_SECONDS, Kind, kind, new_incidents
from ktrain_controller.model import Pod
from ktrain_controller.observation import Fleet, Observation, Silence
from ktrain_controller.sample import Sample
from ktrain_controller.state import Incident, Intent, Release, State, read_state
from tests.controller.seen import NOW, beat, failed, incidents, job, node, pod, policy, seen


def decision(what: Observation) -> Decision:
    found = decide(what).decision
    assert found is not None
    return found


def test_a_job_that_trains_is_left_alone() -> None:
    assert decide(seen()).decision is None


# -- failure -----------------------------------------------------------------------------------------------------------
def test_the_first_failure_is_counted_and_left_to_the_operator() -> None:
    found = decision(seen(ends=(failed(),)))
    assert found.deed == Record()
    assert found.reason == "PodFailed"
    assert "demo-worker-0: crash (exit 139) on rank 3: boom; failure 1 of 10" in found.message
    assert [it.at for it in found.state.incidents] == [NOW - 1]


def test_an_end_that_was_counted_is_not_counted_again() -> None:
    first = decision(seen(ends=(failed(),)))
    assert decide(seen(ends=(failed(),), state=first.state, now=NOW + 3)).decision is None


def test_one_incident_bounces_many_pods_and_counts_once() -> None:
    found = decision(seen(ends=(failed(0), failed(1, 134, at=NOW - 3))))
    assert len(found.state.incidents) == 1


def test_a_successor_that_fails_counts_though_it_was_made_in_the_second_of_the_first_failure() -> None:
    """The API tells whole seconds, and an operator replaces a pod within one."""
    ended = failed(uid="successor", created=NOW - 5, at=NOW - 1)
    state = State(incidents=(Incident(NOW - 5, True, "boom"),), commit=90)
    found = decision(seen(ends=(ended,), pods=(pod(1), ended), state=state))
    assert [it.at for it in found.state.incidents] == [NOW - 5, NOW - 1]


def test_a_second_failure_without_a_commit_replaces_the_whole_gang_with_the_next_attempt() -> None:
    state = State(incidents=incidents(1), commit=90)
    found = decision(seen(ends=(failed(created=NOW - 100),), pods=(pod(1), failed(created=NOW - 100)), state=state))
    assert isinstance(found.deed, Suspend)
    assert found.state.release == Release(NOW + 2, "PodFailed", NOW)


def test_the_pause_doubles_up_to_its_cap() -> None:
    waits = []
    for count in (1, 2, 3, 8):
        state = State(incidents=incidents(count), commit=90)
        release = decision(seen(ends=(failed(created=NOW - 50),), pods=(pod(1),), state=state)).state.release
        assert release is not None
        waits.append(release.until - NOW)
    assert waits == [2, 4, 8, 120]


def test_one_failure_more_than_the_budget_ends_the_job() -> None:
    state = State(incidents=incidents(10, every=60), commit=90)
    found = decision(seen(ends=(failed(created=NOW - 50),), state=state))
    assert found.deed == GiveUp()
    assert found.message.startswith(
        "gave up after 11 failures within 1h without a newer checkpoint; the last one: demo"
    )


def test_a_budget_that_is_larger_than_what_is_remembered_has_an_end_all_the_same() -> None:
    state = State(incidents=incidents(199, every=10), commit=90)
    what = seen(policy=policy(restart={"max": 500}), ends=(failed(created=NOW - 50),), state=state)
    assert decision(what).message.startswith("gave up after 200 failures within 1h")


def test_a_controller_that_died_before_it_gave_up_is_finished_by_the_next() -> None:
    state = State(incidents=incidents(11, every=60), commit=90)
    assert decision(seen(state=state)).deed == GiveUp()


def test_a_newer_commit_gives_the_budget_back() -> None:
    state = State(incidents=incidents(10, every=60), commit=80)
    found = decision(seen(ends=(failed(created=NOW - 50),), state=state))
    assert found.deed == Record()
    assert (len(found.state.incidents), found.state.commit) == (1, 90)


def test_a_failure_outside_of_the_window_is_forgotten() -> None:
    state = State(incidents=incidents(10, last=NOW - 3700), commit=90)
    assert decision(seen(ends=(failed(created=NOW - 50),), state=state)).deed == Record()


def test_a_failure_that_is_older_than_the_window_is_counted_once() -> None:
    late = seen(ends=(failed(at=NOW - 4000),))  # the clock was set, or nobody looked
    first = decision(late)
    assert decide(replace(late, state=first.state)).decision is None


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (failed(code=139), Kind.CHARGED),
        (failed(code=137, why="OOMKilled"), Kind.CHARGED),
        (failed(code=202), Kind.CHARGED),
        (failed(code=143), Kind.FREE),
        (failed(code=137, deleted=NOW - 40), Kind.FREE),
        (failed(code=139, deleted=NOW), Kind.CHARGED),
        (failed(code=137, is_disrupted=True), Kind.FREE),
        (pod(phase="Failed", reason="Evicted"), Kind.FREE),
        (pod(deleted=NOW - 5, deleting=NOW + 30), Kind.FREE),
        (failed(code=200), Kind.ECHO),
        (failed(code=203), Kind.ECHO),
        (failed(code=128, why="StartError"), Kind.NONE),
        (failed(code=70), Kind.NONE),
        (failed(code=0), Kind.NONE),
    ],
    ids=[
        "crash", "oom", "hang", "preempted", "killed after its grace", "cleaned up by the operator", "drained",
        "evicted", "being deleted", "peer lost", "membership", "never started", "user error", "done",
    ],
)  # fmt: skip
def test_who_answers_for_an_end(end: Any, expected: Kind) -> None:
    assert kind(end) is expected


def test_an_echo_waits_for_its_cause_and_then_counts() -> None:
    echo = failed(1, 200)
    assert decide(seen(ends=(echo,))).decision is None
    assert 0 < (decide(seen(ends=(echo,))).look_again or 0) <= SETTLE_SECONDS
    assert decision(seen(ends=(echo,), now=NOW + SETTLE_SECONDS)).state.incidents[0].what.startswith("demo-worker-1")


def test_a_gang_that_is_whole_again_when_an_echo_counts_is_not_replaced() -> None:
    found = decision(
        seen(ends=(failed(1, 200, at=NOW - SETTLE_SECONDS),), state=State(incidents=incidents(1), commit=90))
    )
    assert (found.deed, len(found.state.incidents)) == (Record(), 2)


def test_an_echo_is_looked_at_as_soon_as_it_has_waited() -> None:
    ends = (failed(0, 200, at=NOW - 30), failed(1, 200, at=NOW - 20))
    assert decide(seen(ends=ends)).look_again == SETTLE_SECONDS - 30


def test_the_death_of_a_node_is_free_though_peers_lose_it_before_it_is_known() -> None:
    echo, there = failed(0, 200, at=NOW), (pod(0, uid="successor", created=NOW + 2), pod(1))
    nodes = {"node-0": node("node-0"), "node-1": node("node-1", is_ready=False, since=NOW + 40)}
    assert decide(seen(now=NOW + 79, pods=there, ends=(echo,), nodes=nodes)).decision is None
    lost = decision(seen(now=NOW + 80, pods=there, ends=(echo,), nodes=nodes))
    assert (lost.reason, lost.state.incidents) == ("NodeLost", ())
    gone = pod(1, deleted=NOW + 80, deleting=NOW + 80)
    new = (there[0], pod(1, uid="another", created=NOW + 82, node="node-2"))
    after = seen(now=NOW + SETTLE_SECONDS, pods=new, ends=(echo, gone), state=lost.state, job=job(attempt=2))
    assert decide(after).decision is None


def test_an_echo_of_a_preemption_is_free() -> None:
    ends = (pod(0, deleted=NOW - 3, deleting=NOW + 27), failed(1, 200))
    assert decide(seen(ends=ends, now=NOW + SETTLE_SECONDS)).decision is None


def test_pods_that_we_deleted_ourselves_are_no_failure() -> None:
    state = State(intent=Intent(2, "Hang", ("pod-0",)))
    assert decide(seen(ends=(failed(0, 137),), pods=(), state=state)).decision is None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([139, 137, 143, 200]), st.floats(0, 500)), max_size=8))
def test_incidents_do_not_depend_on_the_order_in_which_ends_are_told(ends: list[tuple[int, int, float]]) -> None:
    pods = [failed(index, code, at=NOW - ago, uid=f"u{n}") for n, (index, code, ago) in enumerate(ends)]
    assert new_incidents(pods, (), NOW + SETTLE_SECONDS) == new_incidents(pods[::-1], (), NOW + SETTLE_SECONDS)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([139, 200]), st.floats(0, 500)), max_size=8))
def test_seen_again_ends_make_no_new_incidents(ends: list[tuple[int, int, float]]) -> None:
    pods = [failed(index, code, at=NOW - ago, uid=f"u{n}") for n, (index, code, ago) in enumerate(ends)]
    assert new_incidents(pods, new_incidents(pods, (), NOW + SETTLE_SECONDS), NOW + SETTLE_SECONDS) == ()


# -- a pause -----------------------------------------------------------------------------------------------------------
def test_a_released_gang_comes_back_after_its_pause_and_not_before() -> None:
    held = seen(job=job(is_suspended=True), pods=(), state=State(release=Release(NOW + 20, "StartTimeout")))
    assert (decide(held).decision, decide(held).look_again) == (None, 20)
    later = decision(replace(held, now=NOW + 20))
    assert later.deed == Resume()
    assert later.state.release is None


def test_what_a_user_suspended_stays_suspended() -> None:
    assert decide(seen(job=job(is_suspended=True), pods=(), ends=(failed(),))).decision is None


def test_a_pause_that_a_user_ended_is_over() -> None:
    found = decision(seen(state=State(release=Release(NOW + 20, "StartTimeout"))))
    assert (found.deed, found.state.release) == (Record(), None)


# -- start -------------------------------------------------------------------------------------------------------------
def waiting(**fields: Any) -> Any:
    return pod(
        1, phase="Pending", node="", waiting="no node takes it: 0/2 nodes: Insufficient nvidia.com/gpu", **fields
    )


def test_a_gang_that_does_not_get_whole_gives_its_resources_back() -> None:
    found = decision(seen(pods=(pod(0), waiting(created=NOW - 601))))
    assert (found.deed, found.reason) == (Suspend(), "StartTimeout")
    assert "Insufficient nvidia.com/gpu" in found.message
    assert found.state.release == Release(NOW + 60, "StartTimeout", NOW)
    assert found.state.incidents == ()


@pytest.mark.parametrize(
    ("nodes", "up", "is_released"),
    [({"min": 1, "max": 2}, 0, False), ({"min": 1, "max": 2}, 1, True), ({"min": 2, "max": 2}, 0, True)],
    ids=["enough", "not the one that hosts", "too few"],
)
def test_an_elastic_gang_that_is_large_enough_keeps_what_it_has(nodes: Any, up: int, is_released: bool) -> None:
    pods = tuple(pod(it) if it == up else replace(waiting(created=NOW - 601), index=it) for it in range(2))
    found = decide(seen(pods=pods, policy=policy(nodes=nodes))).decision
    assert (found is not None) is is_released


def test_each_release_waits_longer() -> None:
    state = State(releases=(NOW - 3000, NOW - 1000))
    release = decision(seen(pods=(pod(0), waiting(created=NOW - 601)), state=state)).state.release
    assert release is not None
    assert release.until == NOW + 240


def test_a_gang_of_which_nothing_runs_holds_nothing() -> None:
    assert decide(seen(pods=(waiting(created=NOW - 9000),), beat=None)).decision is None


def test_a_missing_image_is_waited_for_less_long() -> None:
    bad = pod(1, phase="Pending", waiting="ErrImagePull: not found", is_misconfigured=True, created=NOW - 121)
    assert "ErrImagePull" in decision(seen(pods=(pod(0), bad))).message


def test_a_gang_of_which_no_pod_can_ever_start_holds_its_nodes_for_nothing() -> None:
    why = {"phase": "Pending", "waiting": "ErrImagePull: not found", "is_misconfigured": True}
    found = decision(seen(pods=(pod(0, created=NOW - 121, **why), pod(1, created=NOW - 100, **why)), beat=None))
    assert isinstance(found.deed, Suspend)
    assert "ErrImagePull" in found.message


@pytest.mark.parametrize(
    "peer",
    [pod(1, phase="Pending", node="", is_misconfigured=True), pod(1, phase="Pending", deleting=NOW + 30)],
    ids=["on no node", "leaving"],
)
def test_pods_that_wait_for_nothing_hold_nothing(peer: Pod) -> None:
    late = pod(0, phase="Pending", waiting="ErrImagePull: not found", is_misconfigured=True, created=NOW - 121)
    assert decide(seen(pods=(late, replace(peer, created=NOW)), beat=None)).decision is None


def test_a_gang_that_fetches_a_large_image_is_left_to_it() -> None:
    slow = {"phase": "Pending", "waiting": "ContainerCreating", "created": NOW - 9000}
    assert decide(seen(pods=(pod(0, **slow), pod(1, **slow)), beat=None)).decision is None


# -- nodes -------------------------------------------------------------------------------------------------------------
def test_pods_of_a_dead_node_are_replaced_by_force_after_the_attempt_is_raised() -> None:
    nodes = {"node-0": node("node-0"), "node-1": node("node-1", is_ready=False, since=NOW - 40)}
    found = decision(seen(nodes=nodes))
    assert found.deed == Restart(avoid=("node-1",))
    assert found.state.intent == Intent(2, "NodeLost", ("pod-1",), ("pod-1",))
    assert found.state.incidents == ()


def test_a_node_that_is_away_for_a_moment_costs_nothing() -> None:
    nodes = {"node-0": node("node-0"), "node-1": node("node-1", is_ready=False, since=NOW - 10)}
    verdict = decide(seen(nodes=nodes))
    assert (verdict.decision, verdict.look_again) == (None, 30)


def test_when_most_nodes_go_at_once_their_pods_are_left_alone() -> None:
    nodes = {"node-0": node("node-0"), "node-1": node("node-1", is_ready=False, since=NOW - 400)}
    verdict = decide(seen(nodes=nodes, fleet=Fleet(is_cut_off=True)))
    assert (verdict.decision, verdict.look_again) == (None, 10)


def test_a_node_that_took_a_pod_on_a_moment_ago_was_there_then() -> None:
    """What we know of the node is older than what we know of the pod: its watch is behind."""
    nodes = {"node-0": node("node-0"), "node-1": node("node-1", is_ready=False, since=NOW - 400)}
    verdict = decide(seen(nodes=nodes, pods=(pod(0), pod(1, created=NOW - 12, started=NOW - 10))))
    assert (verdict.decision, verdict.look_again) == (None, 30)


def test_nodes_that_broke_long_ago_are_asked_again() -> None:
    nodes = {"node-0": node("node-0"), "node-1": node("node-1", is_ready=False, since=NOW - 40)}
    state = State(avoid={"node-8": NOW - 1, "node-9": NOW + 100})
    assert decision(seen(nodes=nodes, state=state)).deed == Restart(avoid=("node-1", "node-9"))


def test_without_the_right_to_read_nodes_a_pod_that_cannot_be_ended_is_still_replaced() -> None:
    stuck = pod(1, deleting=NOW - 41, deleted=NOW - 76)
    found = decision(seen(nodes=None, pods=(pod(0), stuck)))
    assert (found.reason, found.state.intent) == ("NodeLost", Intent(2, "NodeLost", ("pod-1",), ("pod-1",)))


def test_an_intent_is_finished_by_whoever_finds_it() -> None:
    state = State(intent=Intent(2, "Hang", ("pod-0", "pod-1")))
    gone = pod(1, deleting=NOW + 20, deleted=NOW - 10)
    found = decision(seen(job=job(attempt=2), state=state, pods=(pod(0), gone)))
    assert found.deed == Sweep((("demo-worker-0", "pod-0", False),))


def test_a_pod_that_cannot_end_is_swept_by_force_until_it_is_gone() -> None:
    state = State(intent=Intent(2, "NodeLost", ("pod-1",), ("pod-1",)))
    found = decision(seen(job=job(attempt=2), state=state, pods=(pod(0), pod(1, deleting=NOW - 1, deleted=NOW - 9))))
    assert found.deed == Sweep((("demo-worker-1", "pod-1", True),))


def test_a_pod_that_a_finalizer_holds_keeps_nobody_from_deciding() -> None:
    state = State(intent=Intent(2, "NodeLost", ("pod-1",), ("pod-1",)))
    held = pod(1, deleting=NOW - 9, deleted=NOW - 9)
    found = decision(seen(job=job(attempt=2), state=state, pods=(pod(0), held), ends=(failed(0),)))
    assert found.reason == "PodFailed"


def test_an_intent_whose_pods_are_gone_asks_for_nothing() -> None:
    state = State(intent=Intent(2, "Hang", ("old-0", "old-1")))
    assert decide(seen(job=job(attempt=2), state=state)).decision is None


def test_a_node_that_announces_its_end_brings_a_checkpoint_once() -> None:
    nodes = {"node-0": node("node-0"), "node-1": node("node-1", notice="karpenter.sh/disrupted")}
    found = decision(seen(nodes=nodes))
    assert found.deed == Request(Ask.CHECKPOINT, (("demo-worker-1", "pod-1"),))
    assert decide(seen(nodes=nodes, state=found.state, now=NOW + 5)).decision is None


# -- hangs -------------------------------------------------------------------------------------------------------------
def test_a_silent_launcher_is_asked_for_stacks_and_then_its_gang_is_restarted() -> None:
    silent = seen(silence=Silence(NOW - 91))
    first = decision(silent)
    assert first.deed == Request(Ask.STACKS, (("demo-worker-0", "pod-0"), ("demo-worker-1", "pod-1")))
    assert decide(replace(silent, state=first.state, now=NOW + 9)).decision is None
    then = decision(replace(silent, state=first.state, now=NOW + 10))
    assert then.deed == Restart()
    assert then.state.intent == Intent(2, "Hang", ("pod-0", "pod-1"))
    assert "failure 1 of 10" in then.message


def test_a_launcher_that_may_have_come_back_since_it_was_asked_is_asked_again_before_its_gang_is_restarted() -> None:
    asked = State(asked={"stacks": NOW - 10})
    assert decide(seen(silence=Silence(NOW - 101, is_old=True), state=asked)).decision is None
    assert decision(seen(silence=Silence(NOW - 101), state=asked)).deed == Restart()


def test_a_gang_that_was_released_for_its_hang_does_not_hang_again_though_a_late_cache_still_shows_it() -> None:
    asked = State(incidents=incidents(1), commit=90, asked={"stacks": NOW - 10})
    silent = seen(silence=Silence(NOW - 101), state=asked)
    first = decision(silent)
    assert isinstance(first.deed, Suspend)
    after = replace(silent, now=NOW + 3, job=job(attempt=2), state=replace(first.state, release=None))
    assert decision(after).deed == Sweep((("demo-worker-0", "pod-0", False), ("demo-worker-1", "pod-1", False)))


def test_ranks_that_stand_still_are_named_when_their_launcher_does_nothing() -> None:
    ranks = (RankBeat(0, 100, "train", NOW - 500), RankBeat(1, 99, "train", NOW - 501))
    still = beat(last_step_at=NOW - 122, ranks=ranks)
    found = decision(seen(beat=still))
    assert "rank 1 stopped first (step 99, phase train)" in found.message


def test_of_a_gang_of_several_pods_it_is_said_whose_ranks_were_compared() -> None:
    """Only the first pod's launcher is asked: the rank that all wait for may be in another."""
    found = decision(seen(beat=beat(last_step_at=NOW - 122, world_size=8)))
    assert "; of the first pod's ranks rank 0 stopped first (step 100, phase train)" in found.message


def test_a_launcher_gets_the_time_to_deal_with_a_hang_itself() -> None:
    assert decide(seen(beat=beat(last_step_at=NOW - 120))).decision is None


def test_when_everybody_falls_silent_it_is_not_the_jobs() -> None:
    assert decide(seen(silence=Silence(NOW - 9000), fleet=Fleet(is_blind=True))).decision is None


def test_a_new_pod_is_not_blamed_for_the_silence_of_the_old_one() -> None:
    young = (pod(0, started=NOW - 5), pod(1))
    assert decide(seen(pods=young, silence=Silence(NOW - 500))).decision is None


# -- ends --------------------------------------------------------------------------------------------------------------
def test_a_job_past_its_deadline_is_ended_from_its_first_start() -> None:
    late = seen(policy=policy(deadline="1h"), state=State(started=NOW - 3601), job=job(started=NOW - 10))
    assert decision(late).reason == "DeadlineExceeded"
    assert decision(late).deed == GiveUp()


def test_the_first_start_is_remembered() -> None:
    found = decision(seen(policy=policy(deadline="2h")))
    assert (found.deed, found.state.started) == (Record(), NOW - 4000)


def test_a_job_that_ended_goes_after_its_time_to_live() -> None:
    over = seen(policy=policy(ttl="1h"), job=job(phase="Failed", ended=NOW - 3600))
    assert decision(over).deed == Remove()
    assert decide(replace(over, now=NOW - 10)).look_again == 10


def test_nothing_else_is_decided_about_a_job_that_ended() -> None:
    assert (
        decide(seen(job=job(phase="Succeeded", ended=NOW), ends=(failed(),), silence=Silence(NOW - 999))).decision
        is None
    )


# -- autoscale ---------------------------------------------------------------------------------------------------------
SCALE = {"query": "q", "target": 0.8, "min": 1, "max": 4, "cooldown": "10m"}


def scaled(value: float | None, **fields: Any) -> Observation:
    sample = Sample(NOW - 5, value, streak=fields.pop("streak", 3))
    return seen(policy=policy(nodes={"min": 1, "max": 4}, autoscale=SCALE), sample=sample, **fields)


@pytest.mark.parametrize(("value", "nodes"), [(1.6, 4), (1.0, 3), (0.4, 1), (0.01, 1), (99.0, 4), (1.7e308, 4)])
def test_the_job_gets_as_many_nodes_as_the_query_asks_for(value: float, nodes: int) -> None:
    found = decision(scaled(value))
    assert found.deed == Resize(nodes)
    assert found.state.scaled_at == NOW
    assert found.state.intent is None


@pytest.mark.parametrize(
    "held",
    [
        scaled(None), scaled(1.6, streak=2), scaled(0.8), scaled(1.6, state=State(scaled_at=NOW - 599)),
        scaled(1.6, fleet=Fleet(may_act=False)), scaled(1.6, fleet=Fleet(is_blind=True)),
        scaled(1.6, pods=(pod(0),)), scaled(1.6, now=NOW + 500), scaled(1.6, job=job(queue="gpu")),
    ],
    ids=["no number", "no trend", "as wanted", "too soon", "fleet", "blind", "not whole", "old sample", "queued"],
)  # fmt: skip
def test_without_a_good_reason_the_number_of_nodes_stays(held: Observation) -> None:
    assert decide(held).decision is None


def test_a_pod_that_does_not_come_is_not_waited_for_when_fewer_are_wanted() -> None:
    waiting = job(replicas=3)
    assert decision(scaled(0.4, job=waiting)).deed == Resize(2)
    assert decide(scaled(1.6, job=waiting)).decision is None


def test_never_during_a_save() -> None:
    assert decide(scaled(1.6, beat=beat(phase="checkpoint"))).decision is None


# -- leftover ----------------------------------------------------------------------------------------------------------
def over(*pods: Pod, **fields: Any) -> Observation:
    return seen(pods=pods, job=job(replicas=len(pods)), beat=None, **fields)


DONE, LATE = {"phase": "Succeeded"}, {"phase": "Pending", "node": "", "started": None}


def test_a_pod_that_never_came_keeps_no_job_from_its_end() -> None:
    assert decision(over(pod(0, **DONE), pod(1, **DONE), pod(2, **LATE))).deed == Resize(2)
    assert decision(over(pod(0, **DONE), pod(1, **LATE), pod(2, **DONE))).deed == Resize(1)


def test_a_pod_may_still_come_for_as_long_as_others_train_or_it_is_new() -> None:
    for held in (
        over(pod(0), pod(1, **LATE, created=NOW - 60)),
        over(pod(0, **DONE), pod(1), pod(2, **LATE, created=NOW - 60)),
        over(pod(0, **DONE), pod(1, **LATE, created=NOW - 5)),
        over(pod(0, **LATE, created=NOW - 60), pod(1, **DONE)),
        over(pod(0, **DONE), pod(1, **DONE)),
    ):
        assert decide(held).decision is None
    assert decide(over(pod(0, **DONE), pod(1, **LATE, created=NOW - 5))).look_again == 25


# -- all together ------------------------------------------------------------------------------------------------------
def test_the_state_survives_its_own_text() -> None:
    state = State(
        Intent(3, "Hang", ("a",), ("a",)),
        incidents(2),
        90,
        Release(NOW, "x"),
        (NOW,),
        {"n": 1.0},
        {"stacks": 2.0},
        3.0,
        4.0,
    )
    assert read_state(state.encode()) == state
    odd = State(incidents=(Incident(NOW, True, "no such file: \udcff"),))
    assert read_state(odd.encode()).incidents[0].what == "no such file: ?"
    assert read_state(decision(seen(ends=(failed(),))).state.encode()).decisions[-1].reason == "PodFailed"


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", "7", '{"intent": 5}', '{"incidents": [{}]}', '"x"', '{"avoid": []}', "[" * 9999,
        '{"commit": 1e999}', '{"started": %s}' % ("9" * 400), '{"scaled_at": NaN}', '{"started": -1}',
        '{"decisions": [{"at": 1e300, "policy": "x", "reason": "x"}]}', '{"avoid": {"\\ud800": 1}}',
        '{"intent": {"attempt": 1e300, "reason": "x", "uids": 5}}',
    ],
    ids=range(15),
)  # fmt: skip
def test_a_damaged_state_is_an_error_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        read_state(text)


WINDOW = timedelta(hours=1)
ENDS = st.lists(
    st.builds(
        failed, st.integers(0, 1), st.sampled_from([70, 128, 137, 139, 143, 200, 202, 203]),
        at=st.floats(NOW - 120, NOW), created=st.floats(NOW - 500, NOW - 1), uid=st.uuids().map(str),
    ),
    max_size=4,
)  # fmt: skip
SEEN = st.builds(
    seen, ends=ENDS.map(tuple),
    silence=st.none() | st.builds(Silence, st.floats(NOW - 500, NOW), st.booleans()),
    job=st.builds(
        job, is_suspended=st.booleans(), phase=st.sampled_from(["Running", "Failed", "Created"]), ended=st.just(NOW),
        queue=st.sampled_from(["", "gpu"]), newest_attempt=st.integers(0, 2),
    ),
    workload=st.none() | st.builds(
        Workload, st.just(WORKLOAD), st.just("research"), st.just("w"), st.just("w-1"), st.just("7"), st.booleans(),
        st.sampled_from(["", "0.0"]),
    ),
    has_workload_read=st.booleans(),
    state=st.builds(
        State, incidents=st.integers(0, 12).map(incidents), commit=st.integers(-1, 100),
        release=st.none() | st.builds(Release, st.floats(NOW - 100, NOW + 100), st.just("x")),
        intent=st.none() | st.builds(Intent, st.integers(1, 5), st.just("Hang"), st.just(("pod-0",))),
    ),
    nodes=st.none() | st.builds(lambda ok: {"node-0": node("node-0", is_ready=ok, since=NOW - 100)}, st.booleans()),
    beat=st.none() | st.builds(beat, last_step_at=st.floats(NOW - 900, NOW), checkpoint_step=st.integers(-1, 200)),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(SEEN)
def test_every_decision_can_be_taken_twice_and_never_takes_more_than_it_may(what: Observation) -> None:
    verdict = decide(what)
    assert decide(what) == verdict
    assert not (verdict.needs_workload and (what.has_workload_read or not what.job.queue))
    found = verdict.decision
    if found is None:
        return
    assert not (what.job.has_ended and not isinstance(found.deed, Remove))
    assert not (what.job.is_suspended and found.is_destructive and not what.job.has_ended)
    if isinstance(found.deed, Restart):
        assert found.state.intent is not None
        assert found.state.intent.attempt == what.job.attempt + 1
    if isinstance(found.deed, GiveUp):
        assert len([it for it in found.state.incidents if it.is_charged]) > what.policy.restart.max


@settings(max_examples=300, deadline=None)
@given(SEEN)
def test_an_action_that_was_carried_out_is_not_decided_again(what: Observation) -> None:
    """At most one destructive action per (job, attempt, reason)."""
    found = decide(what).decision
    if found is None or not isinstance(found.deed, Restart):
        return
    after = replace(what, state=found.state, job=replace(what.job, attempt=what.job.attempt + 1))
    then = decide(after).decision
    assert then is None or not isinstance(then.deed, Restart) or then.reason != found.reason
