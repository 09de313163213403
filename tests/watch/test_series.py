"""How many series there are, and that Prometheus' own linter likes them."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ktrain.goodput import BADPUT
from ktrain_controller.series import OF_JOBS
from ktrain_launcher.board import Board
from ktrain_launcher.metrics import Identity
from ktrain_launcher.tally import Tally
from tests.launcher.test_metrics import board, counting, full, scrape
from tests.promtool import promtool
from tests.watch.known import rules

PAGE = Path(__file__).parents[2] / "docs" / "watch.md"
JOBS, PODS, RANKS = 10_000, 5, 8
REASONS = len(BADPUT)
MOST = 900_000


def pod(node: int, *, per_rank: bool) -> str:
    """What a launcher serves that has seen a restart, with two evaluation metrics."""
    tally = Tally() if node else counting()
    tally.state, tally.epoch = "running", 2
    tally.met(0.5)
    tally.restarted("killed")
    tally.exited(137)
    made: Board = board(*(replace(full(node * RANKS + local), local_rank=local) for local in range(RANKS)))
    return scrape(made, Identity("gpt", "ml", node_rank=node, attempt=1, per_rank=per_rank), tally)


def count(page: str) -> int:
    return sum(not line.startswith("#") for line in page.splitlines())


def budget(*, per_rank: bool) -> dict[str, int]:
    """Series of the whole fleet, by who serves them."""
    return {
        "node 0": JOBS * count(pod(0, per_rank=per_rank)),
        "the other pods": JOBS * (PODS - 1) * count(pod(1, per_rank=per_rank)),
        "the controller": JOBS * len(OF_JOBS),
    }


def test_the_aggregated_mode_keeps_to_its_budget() -> None:
    assert sum(budget(per_rank=False).values()) <= MOST


@pytest.mark.parametrize("per_rank", [False, True], ids=["aggregated", "per-rank"])
def test_the_page_has_the_numbers(per_rank: bool) -> None:
    row = "| `perRank: " + ("true" if per_rank else "false") + "` | "
    found = budget(per_rank=per_rank)
    numbers = [*found.values(), sum(found.values())]
    text = row + " | ".join(f"{number:,}" for number in numbers) + " |"
    assert text in PAGE.read_text(encoding="utf-8"), f"{PAGE.name} has to say: {text}"


def test_the_page_says_what_prometheus_adds() -> None:
    aggregated = [rule["record"] for rule in rules("record") if "rank_busy" not in rule["record"]]
    page = PAGE.read_text(encoding="utf-8")
    assert f"{JOBS * (len(aggregated) - 1 + REASONS):,} that are recorded" in page
    assert f"{JOBS * PODS * 5:,} of its own" in page


@pytest.mark.parametrize("node", [0, 1])
@pytest.mark.parametrize("per_rank", [False, True], ids=["aggregated", "per-rank"])
def test_promtool_has_nothing_to_say_of_a_launchers_page(node: int, per_rank: bool) -> None:
    assert promtool("check", "metrics", stdin=pod(node, per_rank=per_rank)) == ""


def test_in_the_aggregated_mode_other_pods_serve_little_and_no_zeros() -> None:
    names = set(re.findall(r"^(ktrain\w+)", pod(1, per_rank=False), re.MULTILINE))
    assert names == {
        "ktrain_ranks_up", "ktrain_restarts_total", "ktrain_rank_exits_total", "ktrain_launcher_state",
    }  # fmt: skip
    assert count(pod(1, per_rank=False)) == len(names)
    assert count(pod(1, per_rank=True)) > 100


def test_the_time_that_is_lost_is_told_from_0_on() -> None:
    assert 'ktrain_badput_seconds_total{reason="hang"} 0.0' in pod(0, per_rank=False)
