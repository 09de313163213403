"""Launchers that meet: rounds, places, claims and verdicts over a real table."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from ktrain.errors import FencedError, PeerLostError, StorageError
from ktrain.history import Token, claim_epoch, read_head
from ktrain.storage.memory import MemoryStorage
from ktrain_launcher import rendezvous
from ktrain_launcher.control import Cause, Control
from ktrain_launcher.parking import Parking
from ktrain_launcher.quorum import Quorum
from ktrain_launcher.rendezvous import ClosedError, Rendezvous
from ktrain_launcher.table import KeyValues, Table
from ktrain_launcher.table_client import TableClient, connect
from ktrain_launcher.table_server import TableServer
from tests.launcher.gang import free_port, until

HOST = "127.0.0.1"
PORTS = count(20000)


def say(event: str, **fields: object) -> None:
    """Nobody listens."""


def note(_text: str) -> None:
    """Nobody reads."""


def doze(_seconds: float) -> bool:
    """Short pauses, and nobody stops us."""
    time.sleep(0.005)
    return False


class Server:
    """Node 0's table, and the launchers that ask it."""

    def __init__(self) -> None:
        self.table = Table()
        self._server = TableServer(self.table, HOST, 0)
        self._clients: list[TableClient] = []

    def ask(self) -> TableClient:
        found = connect(HOST, self._server.port, pause=doze, say=say, note=note)
        assert found is not None
        self._clients.append(found)
        return found

    def hang_up(self, whose: Control) -> None:
        """As a process that dies."""
        next(it for it in self._clients if it is whose._table).close()

    def close(self) -> None:
        self._server.close()

    def clear(self) -> None:
        for each in self._clients:
            each.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()
    made.clear()


class Claims:
    """Epochs from a real HEAD, after so many failures."""

    def __init__(self, *errors: StorageError) -> None:
        self.errors = list(errors)
        self.storage = MemoryStorage()

    def __call__(self, held: Token | None) -> Token:
        if self.errors:
            raise self.errors.pop(0)
        return claim_epoch(self.storage, attempt=1, held=held)


def control(server: Server, node: int, num_nodes: int = 2) -> Control:
    table: KeyValues = server.ask() if node else server.table
    return Control(table, node=node, num_nodes=num_nodes, where="here")


def meeting(
    made: Control, claim: Callable[[Token | None], Token], *, pause: Callable[[float], bool] = doze,
    note: Callable[[str], None] = note, is_done: bool = False, fewest: int | None = None,
    expected: int | None = None,
) -> Rendezvous:  # fmt: skip
    most = made.num_nodes
    return Rendezvous(
        made, Quorum(fewest or most, most, expected or most), host=HOST, run="run", claim=claim, new_store=PORTS.__next__, is_done=lambda: is_done, pause=pause,
        note=note, say=say,
    )  # fmt: skip


def meet(*all_: Rendezvous) -> list[tuple[int, int, int]]:
    """(round, epoch, port) of each, met at the same time."""
    with ThreadPoolExecutor(len(all_)) as pool:
        list(pool.map(lambda each: each.next_round(), all_))
    return [(each.round, each.formed.epoch, each.formed.port) for each in all_ if each.formed]


def test_each_round_has_an_epoch_and_a_store_of_its_own(server: Server) -> None:
    claims = Claims()
    zero, one = meeting(control(server, 0), claims), meeting(control(server, 1), claims)
    first, also_first = meet(zero, one)
    zero._control.ask(zero.round)
    second, also_second = meet(zero, one)
    assert first == also_first
    assert second == also_second
    assert (first[:2], second[:2]) == ((1, 1), (2, 2))
    assert first[2] != second[2]


def test_a_launcher_that_was_made_again_asks_for_the_next_round(server: Server) -> None:
    claims = Claims()
    zero, one = meeting(control(server, 0), claims), meeting(control(server, 1), claims)
    meet(zero, one)
    again = meeting(control(server, 1), claims)
    assert [met[:2] for met in meet(zero, again)] == [(2, 2), (2, 2)]


def test_one_that_died_while_it_waited_does_not_count(server: Server) -> None:
    claims = Claims()
    former = control(server, 1)
    former.register("0")
    former.enter(0)
    zero, one = meeting(control(server, 0), claims), meeting(control(server, 1), claims)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(one.next_round)
        until(lambda: former.target() == 2)
        zero.next_round()
        waiting.result(10)
    assert (zero.round, one.round) == (2, 2)


def test_storage_that_is_away_for_a_moment_costs_a_moment(server: Server) -> None:
    claims = Claims(StorageError("away"), StorageError("away"))
    assert meet(meeting(control(server, 0, 1), claims))[0][1] == 1


def test_storage_that_stays_away_ends_the_wait(server: Server) -> None:
    with pytest.raises(StorageError, match="away"):
        meeting(control(server, 0, 1), Claims(*[StorageError("away")] * 9)).next_round()


def test_a_later_attempt_ends_it_at_once(server: Server) -> None:
    claims = Claims(FencedError("attempt 2 has taken over"))
    with pytest.raises(FencedError):
        meeting(control(server, 0, 1), claims).next_round()


def test_of_two_launchers_of_node_0_the_newer_one_stays(server: Server) -> None:
    claims = Claims()
    old = meeting(control(server, 0, 1), claims)
    meet(old)
    new = meeting(Control(Table(), node=0, num_nodes=1, where="in a pod of its own"), claims)
    meet(new)
    old._control.ask(old.round)
    with pytest.raises(FencedError, match="epoch a0001-e0002 has taken over, a0001-e0001 must not write"):
        old.next_round()
    new._control.ask(new.round)
    assert meet(new)[0][:2] == (2, 3)


def test_of_two_launchers_of_another_node_the_newer_one_stays(server: Server) -> None:
    claims = Claims()
    zero, old = meeting(control(server, 0), claims), meeting(control(server, 1), claims)
    meet(zero, old)
    new = meeting(control(server, 1), claims)
    meet(zero, new)
    with pytest.raises(FencedError, match="another launcher of node 1 has taken this one's place"):
        old.next_round()
    assert new._control.target() == new.round


def test_whoever_waits_learns_that_the_run_is_done(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "LOOK_EVERY", 0.0)
    zero = meeting(control(server, 0), Claims(), is_done=True)
    with pytest.raises(ClosedError):
        zero.next_round()


def test_what_earlier_failures_demand_is_waited_for_and_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "NOTE_EVERY", 0.0)
    notes: list[str] = []
    zero = meeting(control(server, 0, 1), Claims(), note=notes.append)
    zero.park = lambda: Parking(failures=3, seconds=0.1)
    begun = time.monotonic()
    assert meet(zero)[0][1] == 1
    assert time.monotonic() - begun >= 0.1
    assert notes[0] == "waits 0 s more before the next try, after 3 failures"
    assert notes[-1] == ""


def test_one_that_comes_in_the_pause_has_it_asked_about_again(server: Server) -> None:
    zero, one = meeting(control(server, 0), Claims()), meeting(control(server, 1), Claims())
    parkings = [Parking(failures=2, seconds=600), Parking(failures=2)]
    zero.park = lambda: parkings.pop(0)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(zero.next_round)
        pool.submit(one.next_round)
        until(lambda: len(parkings) == 1)
        again = meeting(control(server, 1), Claims())
        again.next_round()
        waiting.result(10)
        # The one that was replaced hears so when it enters the next round.
        assert (zero.round, again.round) == (2, 2)


def test_a_run_that_is_done_while_it_is_parked_is_left(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "LOOK_EVERY", 0.05)
    zero = meeting(control(server, 0, 1), Claims(), is_done=True)
    zero.park = lambda: Parking(failures=2, seconds=600)
    with pytest.raises(ClosedError):
        zero.next_round()


def test_a_job_that_is_given_up_claims_no_epoch(server: Server) -> None:
    claims = Claims()
    zero = meeting(control(server, 0, 1), claims)
    zero.park = lambda: Parking(failures=9, sentence="gave up")
    with pytest.raises(ClosedError):
        zero.next_round()
    assert read_head(claims.storage) is None


def test_one_that_takes_the_place_of_a_silent_one_says_so(server: Server) -> None:
    zero, again = control(server, 0), control(server, 1)
    meet(meeting(zero, Claims()), meeting(control(server, 1), Claims()))
    again.register("9")
    assert again.enter(0) == 2
    cause = zero.any_cause(1)
    assert cause is not None
    assert (cause.code, cause.is_counted) == (200, True)
    assert cause.message.startswith("the launcher of node 1 was killed")


def test_a_launcher_that_goes_without_a_word_costs_a_round(server: Server) -> None:
    claims, one = Claims(), control(server, 1)
    zero = meeting(control(server, 0), claims)
    meet(zero, meeting(one, claims))
    zero._control.bury(1, [0, 1])
    assert zero._control.target() == 1
    server.hang_up(one)
    until(lambda: zero._control.here() == {0})
    zero._control.bury(1, [0, 1])
    zero._control.bury(1, [0, 1])
    cause = zero._control.cause(1)
    assert (zero._control.target(), cause and cause.node, cause and cause.is_counted) == (2, 1, True)
    assert control(server, 1).deaths() == 1


def test_one_that_leaves_as_the_round_begins_costs_a_round_that_nobody_pays_for(server: Server) -> None:
    claims, one = Claims(), control(server, 1)
    zero = meeting(control(server, 0), claims)
    meet(zero, meeting(one, claims))
    one.leave()
    zero._control.bury(1, [0, 1])
    assert zero._control.target() == 2
    assert zero._control.any_cause(1) == Cause(1, -1, 143, message="node 1 was told to go")
    assert zero._control.deaths() == 0


def test_one_whose_ranks_have_ended_said_all_there_is_to_say(server: Server) -> None:
    claims, one = Claims(), control(server, 1)
    zero = meeting(control(server, 0), claims)
    meet(zero, meeting(one, claims))
    one.end_ranks(1, {1: 143})
    server.hang_up(one)
    until(lambda: zero._control.here() == {0})
    zero._control.bury(1, [0, 1])
    assert (zero._control.target(), zero._control.any_cause(1)) == (2, None)


def test_one_that_dies_while_it_waits_to_join_costs_the_others_nothing(server: Server) -> None:
    claims = Claims()
    zero, gone = meeting(control(server, 0), claims, fewest=1, expected=1), control(server, 1)
    meet(zero)
    gone.register("0")
    gone.enter(0)
    server.hang_up(gone)
    again = control(server, 1)
    again.register("1")
    assert again.enter(0) == 1
    assert (again.target(), zero._control.any_cause(1)) == (1, None)


def test_one_that_was_cut_off_does_not_take_the_place_of_its_successor(server: Server) -> None:
    claims = Claims()
    zombie = meeting(control(server, 1), claims)
    new = meeting(control(server, 1), claims)
    zombie._control.move(server.ask())
    with pytest.raises(FencedError, match="another launcher of node 1"):
        zombie.register()
    server.hang_up(new._control)
    until(lambda: zombie._control.here() == set())
    zombie.register()
    assert zombie._control.here() == {1}


def test_one_that_has_done_its_part_may_go(server: Server) -> None:
    claims, one = Claims(), control(server, 1)
    zero = meeting(control(server, 0), claims)
    meet(zero, meeting(one, claims))
    one.finish(1)
    server.hang_up(one)
    until(lambda: zero._control.here() == {0})
    zero._control.bury(1, [0, 1])
    assert (zero._control.target(), zero._control.any_cause(1)) == (1, None)


def test_an_elastic_job_goes_on_with_those_that_are_left(server: Server) -> None:
    claims = Claims()
    zero, two = (meeting(control(server, node, 3), claims, fewest=1) for node in (0, 2))
    gone = control(server, 1, 3)
    meet(zero, meeting(gone, claims, fewest=1), two)
    server.hang_up(gone)
    zero._control.ask(1)
    meet(zero, two)
    assert zero.formed == two.formed
    assert zero.formed is not None
    assert (zero.round, zero.formed.nodes) == (2, (0, 2))


def test_one_that_comes_late_is_taken_in(server: Server) -> None:
    claims, notes = Claims(), list[str]()
    zero, one = (meeting(control(server, node, 3), claims, fewest=1, expected=2) for node in (0, 1))
    meet(zero, one)
    with ThreadPoolExecutor(1) as pool:
        two = pool.submit(meeting(control(server, 2, 3), claims, fewest=1, note=notes.append).next_round)
        until(lambda: zero._control.target() == 2)
        cause = zero._control.any_cause(1)
        assert cause == Cause(2, -1, 203, message="node 2 joins")
        meet(zero, one)
        assert zero.formed == two.result(10)
    assert zero.formed is not None
    assert zero.formed.nodes == (0, 1, 2)


def test_nobody_meets_after_the_verdict(server: Server) -> None:
    zero = control(server, 0)
    first = zero.judge(Cause(0, 3, 70, message="boom"))
    assert control(server, 1).judge(Cause(1, 1, 76)) == first
    with pytest.raises(ClosedError):
        meeting(zero, Claims()).next_round()


def test_one_that_is_told_to_stop_waits_no_longer(server: Server) -> None:
    with pytest.raises(ClosedError):
        meeting(control(server, 0), Claims(), pause=lambda _seconds: True).next_round()


def test_the_real_cause_is_kept_before_its_echoes(server: Server) -> None:
    zero, one = control(server, 0), control(server, 1)
    zero.blame(1, Cause(0, 0, 200))
    assert zero.cause(1) is None
    assert zero.any_cause(1) == Cause(0, 0, 200)
    one.blame(1, Cause(1, 1, 143))
    assert zero.any_cause(1) == Cause(1, 1, 143)
    one.blame(1, Cause(1, 1, 137, by_signal=True))
    zero.blame(1, Cause(0, 0, 139))
    assert zero.any_cause(1) == zero.cause(1) == Cause(1, 1, 137, by_signal=True)
    assert zero.any_cause(2) is None


def test_a_table_that_has_gone_is_a_lost_peer() -> None:
    server = Server()
    one = control(server, 1)
    server.close()
    with pytest.raises(PeerLostError, match="the launcher of node 0 at here has gone"):
        one.target()


@pytest.mark.parametrize(
    ("host", "told"),
    [("no-such-host.invalid", "DNS does not know no-such-host.invalid"), (HOST, "does not serve 127.0.0.1:")],
    ids=["dns", "refused"],
)
def test_what_keeps_node_0_from_being_reached_is_noted(host: str, told: str) -> None:
    notes: list[str] = []
    found = connect(host, free_port(), pause=lambda _seconds: True, say=say, note=notes.append)
    assert found is None
    assert len(notes) == 1
    assert told in notes[0]


def test_missing_nodes_are_noted_until_they_come(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "NOTE_EVERY", 0.0)
    notes: list[str] = []
    zero = meeting(control(server, 0), Claims(), note=notes.append)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(zero.next_round)
        until(lambda: notes)
        meeting(control(server, 1), Claims()).next_round()
        waiting.result(10)
    assert notes[0] == "waits for the launchers of nodes 1"
    assert notes[-1] == ""
