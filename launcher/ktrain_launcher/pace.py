"""How fast each rank of the gang goes: every launcher tells the table now and then, and node 0's shows it."""

from contextlib import suppress
from dataclasses import asdict
from typing import Final

from ktrain.errors import PeerLostError
from ktrain.snapshot import Snapshot
from ktrain_launcher.board import Board
from ktrain_launcher.control import Control, Pace
from ktrain_launcher.tally import Tally

TELL_SECONDS: Final = 5.0
MAX_RANKS: Final = 4096  # of more, /status would be longer than what the controller reads
_DIGITS: Final = 4


class Pacing:
    """Attended to by the agent while its ranks run."""

    def __init__(self, control: Control, board: Board, tally: Tally) -> None:
        self._control, self._board, self._tally = control, board, tally
        self._every = control.every(TELL_SECONDS)
        self._told = float("-inf")  # monotonic

    def begin(self) -> None:
        """New ranks: nothing is known of them."""
        self._told = float("-inf")
        self._tally.pace = []

    def heed(self, round_: int, now: float) -> None:
        """Tells, and on node 0 collects, when it is time; `now` is monotonic."""
        if now - self._told < self._every:
            return
        self._told = now
        with suppress(PeerLostError):  # whoever asks for news is told the same, and knows what to do about it
            self._tell(round_)

    def _tell(self, round_: int) -> None:
        snapshots = self._board.snapshots().values()
        self._control.tell_pace(round_, [pace(it, self._control.node) for it in snapshots])
        if self._control.node == 0:
            self._tally.pace = [asdict(it) for it in self._control.paces(round_)[:MAX_RANKS]]


def pace(snapshot: Snapshot, node: int) -> Pace:
    """What one rank of this node has said."""
    return Pace(
        snapshot.rank,
        node,
        sum(snapshot.step_counts),
        round(snapshot.step_seconds_sum, _DIGITS),
        round(snapshot.peer_wait_seconds, _DIGITS),
        round(snapshot.data_wait_seconds, _DIGITS),
    )
