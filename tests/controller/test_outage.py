"""When so many nodes are not ready that it is not believed of them."""

import pytest

from ktrain_controller.outage import Outage
from tests.controller.seen import node


def outage(num_nodes: int, num_away: int) -> tuple[Outage, list[str]]:
    said: list[str] = []
    found = Outage(lambda event, **_: said.append(event))
    for number in range(num_nodes):
        found.follow(None, node(f"node-{number}"))
    for number in range(num_away):
        found.follow(node(f"node-{number}"), node(f"node-{number}", is_ready=False))
    return found, said


@pytest.mark.parametrize(
    ("num_nodes", "num_away", "is_wide"),
    [(2, 1, False), (2, 2, False), (3, 2, False), (3, 3, True), (4, 3, True), (20, 11, False), (20, 12, True)],
)
def test_more_than_two_and_more_than_55_percent_are_an_outage(num_nodes: int, num_away: int, is_wide: bool) -> None:
    found, said = outage(num_nodes, num_away)
    assert found.is_wide == is_wide
    assert said == ["outage"] * is_wide


def test_it_is_over_when_nodes_come_back_or_are_taken_out_of_the_cluster() -> None:
    found, said = outage(4, 3)
    found.follow(node("node-0", is_ready=False), node("node-0"))
    assert said == ["outage", "outage_over"]
    found.follow(node("node-3"), node("node-3", is_ready=False))
    found.follow(node("node-3", is_ready=False), None)
    found.follow(node("node-2", is_ready=False), None)
    assert (found.is_wide, found.num_away) == (False, 1)
    assert said == ["outage", "outage_over"] * 2
