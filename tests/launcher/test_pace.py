"""What node 0's launcher knows of the pace of all ranks."""

import json
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from ktrain.snapshot import STEP_BUCKETS, Snapshot
from ktrain_launcher import pace
from ktrain_launcher.board import Board, Rank
from ktrain_launcher.control import Control, Pace
from ktrain_launcher.metrics import Identity
from ktrain_launcher.pace import TELL_SECONDS, Pacing
from ktrain_launcher.pages import Pages
from ktrain_launcher.table import KeyValues, Table
from ktrain_launcher.table_client import TableClient, connect
from ktrain_launcher.table_server import TableServer
from ktrain_launcher.tally import Tally

HOST = "127.0.0.1"


def say(_event: str, **_fields: object) -> None:
    """Nobody listens."""


class Launcher:
    """One node's, with two ranks."""

    def __init__(self, table: KeyValues, node: int, num_nodes: int = 2) -> None:
        self.board, self.tally = Board(), Tally()
        control = Control(table, node=node, num_nodes=num_nodes, where="here")
        self.pacing = Pacing(control, self.board, self.tally)
        self.ranks = (2 * node, 2 * node + 1)
        self.board.begin([Rank(rank, rank % 2, 100 + rank, 0.0) for rank in self.ranks])

    def hear(self, steps: int, *, seconds: float = 0.5) -> None:
        """Both ranks have made so many steps."""
        for rank in self.ranks:
            word = Snapshot(rank, rank % 2, 4, 100 + rank, step=1000 + steps, step_seconds_sum=steps * seconds)
            word.step_counts[5] = steps - 1
            word.step_counts[7] = 1
            word.peer_wait_seconds, word.data_wait_seconds = 0.25 * rank, 1 / 3
            self.board.receive(word.encode())

    @property
    def page(self) -> list[dict[str, object]]:
        """Of its /status."""
        pages = Pages(Identity("job", "default", 0, 1, per_rank=True), self.board, self.tally)
        found: list[dict[str, object]] = json.loads(pages.status()[2])["pace"]
        return found


@pytest.fixture
def server() -> Iterator[TableServer]:
    made = TableServer(Table(), HOST, 0)
    yield made
    made.close()


def client(server: TableServer) -> TableClient:
    found = connect(HOST, server.port, pause=lambda _seconds: False, say=say, note=len)
    assert found is not None
    return found


def test_node_0_shows_the_pace_of_all_ranks_and_the_others_show_none() -> None:
    table = Table()
    first, second = Launcher(table, 0), Launcher(table, 1)
    for each in (second, first):
        each.hear(40)
        each.pacing.heed(3, 100.0)
    assert [it["rank"] for it in first.page] == [0, 1, 2, 3]
    assert first.page[3] == asdict(Pace(3, 1, 40, 20.0, 0.75, 0.3333))
    assert second.page == []


def test_it_is_told_every_few_seconds() -> None:
    table = Table()
    first, second = Launcher(table, 0), Launcher(table, 1)
    second.hear(40)
    second.pacing.heed(3, 100.0)
    second.hear(50)
    second.pacing.heed(3, 99.9 + TELL_SECONDS)
    first.pacing.heed(3, 100.0)
    assert [it["steps"] for it in first.page] == [40, 40]
    second.pacing.heed(3, 100.0 + TELL_SECONDS)
    first.pacing.heed(3, 100.0 + TELL_SECONDS)
    assert [it["steps"] for it in first.page] == [50, 50]


def test_where_there_are_many_launchers_each_tells_less_often() -> None:
    table = Table()
    first, last = Launcher(table, 0, num_nodes=1000), Launcher(table, 999, num_nodes=1000)
    last.pacing.heed(3, 100.0)
    last.hear(40)
    last.pacing.heed(3, 99.9 + 10 * TELL_SECONDS)
    first.pacing.heed(3, 100.0)
    assert first.page == []
    last.pacing.heed(3, 100.0 + 10 * TELL_SECONDS)
    first.pacing.heed(3, 100.0 + 10 * TELL_SECONDS)
    assert [it["rank"] for it in first.page] == [1998, 1999]


def test_ranks_of_an_earlier_round_are_not_shown() -> None:
    table = Table()
    first, second = Launcher(table, 0), Launcher(table, 1)
    for each in (second, first):
        each.hear(40)
        each.pacing.heed(3, 100.0)
    first.pacing.begin()
    assert first.page == []
    first.hear(5)
    first.pacing.heed(4, 101.0)
    assert [it["rank"] for it in first.page] == [0, 1]


def test_a_rank_that_has_said_nothing_has_no_pace() -> None:
    first = Launcher(Table(), 0, num_nodes=1)
    first.pacing.heed(1, 100.0)
    assert first.page == []


def test_a_number_that_is_none_harms_nobody() -> None:
    first = Launcher(Table(), 0, num_nodes=1)
    word = Snapshot(0, 0, 1, 100, step_counts=[float("inf")] * (len(STEP_BUCKETS) + 1))  # type: ignore[list-item]
    word.peer_wait_seconds = float("nan")
    first.board.receive(word.encode())
    first.pacing.heed(1, 100.0)
    assert (first.page[0]["steps"], first.page[0]["peer_wait_seconds"]) == (None, None)


def test_a_page_does_not_grow_beyond_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "MAX_RANKS", 1)
    first = Launcher(Table(), 0, num_nodes=1)
    first.hear(40)
    first.pacing.heed(1, 100.0)
    assert len(first.page) == 1


def test_a_table_that_is_gone_is_not_this_ones_to_tell() -> None:
    server = TableServer(Table(), HOST, 0)
    table = client(server)
    second = Launcher(table, 1)
    second.hear(40)
    server.close()
    second.pacing.heed(3, 100.0)
    table.close()


def test_it_travels_over_the_table(server: TableServer) -> None:
    table = client(server)
    second = Launcher(table, 1)
    second.hear(40)
    second.pacing.heed(3, 100.0)
    first = Control(table, node=0, num_nodes=2, where="here")
    assert [it.rank for it in first.paces(3)] == [2, 3]
    table.close()
