"""Exit codes of ranks: who is to blame, and what follows."""

from datetime import timedelta

import pytest

from ktrain.names import Exit
from ktrain_launcher.exits import (
    SETTLE,
    SETTLE_ECHO,
    Action,
    Ended,
    code_of,
    decide,
    first_failure,
    is_failure,
    patience,
)

GRACE = timedelta(seconds=30)


@pytest.mark.parametrize(
    ("returncode", "last_words", "code"),
    [
        pytest.param(0, [], 0, id="done"),
        pytest.param(-9, [], 137, id="SIGKILL"),
        pytest.param(-15, [], 143, id="SIGTERM without a handler"),
        pytest.param(-11, [], 139, id="SIGSEGV is retried"),
        pytest.param(70, ["Connection reset by peer"], 70, id="a code of ours is believed"),
        pytest.param(200, [], 200, id="peer lost"),
        pytest.param(1, ["ValueError: no such column"], 70, id="a plain script's bug"),
        pytest.param(2, [], 70, id="wrong arguments"),
        pytest.param(69, [], 70, id="a program cannot give the job up"),
        pytest.param(1, ["RuntimeError: [pair.cc:561] Connection closed by peer [::1]:3"], 200, id="gloo's lost peer"),
        pytest.param(1, ["torch.distributed.DistBackendError: NCCL error in: x"], 200, id="NCCL's lost peer"),
        pytest.param(1, ["RuntimeError: CUDA error: uncorrectable ECC error encountered"], 200, id="broken memory"),
    ],
)
def test_a_return_code_tells_the_kind_of_failure(returncode: int, last_words: list[str], code: int) -> None:
    assert code_of(returncode, last_words) == code


@pytest.mark.parametrize(
    ("ended", "rank"),
    [
        pytest.param([Ended(0, 200, 1.0), Ended(1, 137, 2.0)], 1, id="a kill before the peer that felt it first"),
        pytest.param([Ended(0, 203, 1.0), Ended(1, 143, 2.0)], 1, id="the signalled one before those that followed"),
        pytest.param([Ended(0, 200, 1.0), Ended(1, 203, 2.0)], 1, id="an agreed stop before a lost peer"),
        pytest.param([Ended(0, 139, 2.0), Ended(1, 137, 1.0)], 1, id="the earlier of two real ones"),
        pytest.param([Ended(0, 134, 1.0), Ended(1, 70, 1.0)], 1, id="at the same time: the one that says most"),
        pytest.param([Ended(0, 0, 1.0), Ended(1, 201, 2.0)], 1, id="success is no failure"),
    ],
)
def test_the_first_failure_is_a_cause_not_an_echo(ended: list[Ended], rank: int) -> None:
    first = first_failure(ended)
    assert first is not None
    assert first.rank == rank


def test_nobody_failed_when_all_ended_well() -> None:
    assert first_failure([Ended(0, 0, 1.0)]) is None


@pytest.mark.parametrize(
    ("ended", "allowed"),
    [
        pytest.param([Ended(0, 137, 1.0)], SETTLE, id="a real cause: a moment for last words"),
        pytest.param([Ended(0, 200, 1.0)], SETTLE_ECHO, id="an echo: time for the culprit to show"),
        pytest.param([Ended(0, 143, 1.0)], GRACE, id="an agreed stop: time to save"),
        pytest.param([Ended(0, 143, 1.0, by_signal=True)], SETTLE, id="no handler: nobody agreed to anything"),
        pytest.param([Ended(0, 203, 1.0), Ended(1, 70, 1.0)], SETTLE, id="a real cause wins"),
    ],
)
def test_patience_goes_by_what_the_others_have_to_do(ended: list[Ended], allowed: timedelta) -> None:
    assert patience(ended, grace=GRACE) == allowed


@pytest.mark.parametrize(
    ("code", "left", "moved", "action", "counted"),
    [
        pytest.param(70, 3, True, Action.FAIL, False, id="user code: the whole job"),
        pytest.param(76, 0, True, Action.FAIL, False, id="not finite: the whole job"),
        pytest.param(73, 3, True, Action.FAIL, False, id="no room: the whole job"),
        pytest.param(137, 1, True, Action.RESTART, True, id="killed: again, and it counts"),
        pytest.param(137, 0, True, Action.LEAVE, True, id="killed too often: this pod"),
        pytest.param(202, 2, False, Action.RESTART, True, id="hang: again, and it counts"),
        pytest.param(143, 0, True, Action.RESTART, False, id="preempted rank: free"),
        pytest.param(203, 0, True, Action.RESTART, False, id="membership: free"),
        pytest.param(143, 1, False, Action.RESTART, True, id="stops and never steps: counts"),
        pytest.param(143, 0, False, Action.LEAVE, True, id="stops and never steps: ends"),
        pytest.param(69, 3, True, Action.FAIL, False, id="given up: the whole job"),
    ],
)
def test_the_code_decides_what_the_pod_does(code: int, left: int, moved: bool, action: Action, counted: bool) -> None:
    decision = decide([Ended(0, code, 1.0)], budget_left=left, has_moved=moved)
    assert (decision.action, decision.code, decision.is_counted) == (action, code, counted)


@pytest.mark.parametrize("code", [0, 64, 69, 70, 73, 76, 143, 203])
def test_these_are_no_failures_of_an_epoch(code: int) -> None:
    assert not is_failure(code)


@pytest.mark.parametrize("code", [134, 137, 139, 200, 201, 202])
def test_these_are(code: int) -> None:
    assert is_failure(code)


def test_a_lost_peer_costs_nothing_when_another_pod_has_shown_the_cause() -> None:
    decision = decide([Ended(0, 200, 1.0)], budget_left=0, has_moved=True, is_blameless=True)
    assert (decision.action, decision.is_counted) == (Action.RESTART, False)


def test_a_signalled_launcher_is_preempted_whatever_its_ranks_say() -> None:
    decision = decide([Ended(0, 0, 1.0), Ended(1, 70, 1.0)], budget_left=3, has_moved=True, is_signalled=True)
    assert (decision.action, decision.code) == (Action.STOP, Exit.PREEMPTED)


def test_a_finished_run_is_done_even_when_ranks_die_on_their_way_out() -> None:
    decision = decide([Ended(0, 134, 1.0)], budget_left=0, has_moved=True, is_signalled=True, is_done=True)
    assert (decision.action, decision.code) == (Action.DONE, 0)
