"""Which evaluations count as best, and when to stop."""

import pytest

from ktrain.errors import SpecError
from ktrain.spec.evaluation import Best, EarlyStop
from ktrain_trainer.judge import check_monitors, is_among_best, should_stop
from ktrain_trainer.progress import Progress


def test_the_best_k_are_remembered() -> None:
    best = Best.model_validate({"keep": 2})
    progress = Progress()
    seen = [is_among_best(best, progress, {"val/loss": value}) for value in (3.0, 2.0, 2.5, 4.0, 1.0)]
    assert seen == [True, True, True, False, True]
    assert progress.top == [1.0, 2.0]


def test_early_stop_waits_for_patience() -> None:
    early = EarlyStop.model_validate({"patience": 2, "minDelta": 0.1})
    progress = Progress()
    seen = [should_stop(early, progress, {"val/loss": value}) for value in (3.0, 2.0, 1.95, 1.0, 1.2, 0.95)]
    assert seen == [False, False, False, False, False, True]


def test_early_stop_is_the_same_after_a_restart_at_every_evaluation() -> None:
    early = EarlyStop.model_validate({"monitor": "val/accuracy", "mode": "max", "patience": 2})
    values = [0.1, 0.5, 0.4, 0.6, 0.6, 0.5]
    progress, whole = Progress(), Progress()
    for value in values:
        progress = Progress.read(progress.document())
        assert should_stop(early, progress, {"val/accuracy": value}) == should_stop(
            early, whole, {"val/accuracy": value}
        )
    assert progress == whole


def test_an_unknown_monitor_names_those_that_exist() -> None:
    with pytest.raises(SpecError, match=r"earlyStop.monitor is val/f1, but evaluation gives val/accuracy, val/loss"):
        check_monitors([("earlyStop", "val/f1")], ["val/loss", "val/accuracy"])
