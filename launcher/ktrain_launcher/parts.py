"""What the agent works with: the launcher's parts, and the epoch that is being run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ktrain.guard import Guard
from ktrain.history import Token
from ktrain.names import Exit
from ktrain.spec import JobSpec
from ktrain.voice import Say
from ktrain_launcher.board import Board, Inbox
from ktrain_launcher.control import Cause, Control, News
from ktrain_launcher.environment import Environment
from ktrain_launcher.gate import Gate
from ktrain_launcher.hang import Watch
from ktrain_launcher.journal import Journal
from ktrain_launcher.logs import Logs
from ktrain_launcher.nursery import Nursery
from ktrain_launcher.ranks import Ranks
from ktrain_launcher.rendezvous import Rendezvous
from ktrain_launcher.requests import Requests
from ktrain_launcher.stop import Stop
from ktrain_launcher.suspects import Suspect
from ktrain_launcher.table import KeyValues
from ktrain_launcher.table_client import Pause
from ktrain_launcher.tally import Tally


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that the agent works with; `supervise` makes it."""

    spec: JobSpec
    nproc: int  # ranks of this pod
    scratch: Path
    nursery: Nursery
    control: Control
    rendezvous: Rendezvous
    environment: Environment
    logs: Logs
    board: Board
    watch: Watch
    guard: Guard
    journal: Journal
    gate: Gate
    requests: Requests
    tally: Tally
    stop: Stop
    reconnect: Callable[[], KeyValues | None]
    """The table of a node 0 that was made again, however long that takes; None when there is nothing left to do."""
    pause: Pause
    say: Say


@dataclass(slots=True)
class Round:
    """One epoch of the gang, as this pod sees it."""

    number: int
    token: Token
    nodes: tuple[int, ...]
    ranks: Ranks
    inbox: Inbox
    started: float  # Unix seconds
    news: News
    ended: float | None = None  # the same, when its ranks were over
    news_at: float | None = None  # monotonic, when others wanted the next round
    news_cause: Cause | None = None
    suspect: Suspect | None = None  # a rank of ours that makes no step
    suspected_at: float = 0.0  # monotonic
    is_alone: bool = False  # node 0's launcher has left, and we only finish what we have

    @property
    def makes_room(self) -> bool:
        """Whether it ends only because another node wants to take part."""
        return self.news_cause is not None and self.news_cause.code == Exit.MEMBERSHIP
