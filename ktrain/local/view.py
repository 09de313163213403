"""How a run looks while it runs: a live panel on a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TextIO

from ktrain import progress
from ktrain.picture import Picture

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

LINE_EVERY: Final = 5.0
_BARS: Final = "▁▂▃▄▅▆▇█"


class View(Protocol):
    """Where a run is shown."""

    def output(self, line: str) -> None:
        """A line that a rank or a launcher wrote."""

    def event(self, text: str) -> None:
        """Something happened."""

    def update(self, picture: Picture) -> None:
        """The picture changed."""

    def close(self) -> None:
        """No more."""


class Lines:
    """For logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told_at = 0.0
        self._told = ""

    def output(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def event(self, text: str) -> None:
        print(f"ktrain: {text}", file=self._stream, flush=True)

    def update(self, picture: Picture) -> None:
        now = time.time()
        text = progress.line(picture, now=now)
        if now - self._told_at >= LINE_EVERY and text != self._told:
            self._told_at, self._told = now, text
            self.event(text)

    def close(self) -> None:
        return None


class Panel:
    """For terminals: redrawn in place, with the ranks' own output scrolling above."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.live import Live

        self._title = title
        self._losses: deque[float] = deque(maxlen=40)
        self._events: deque[str] = deque(maxlen=4)
        self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)
        self._live.start()

    def output(self, line: str) -> None:
        self._live.console.print(line, markup=False, highlight=False)

    def event(self, text: str) -> None:
        self._events.append(f"{time.strftime('%H:%M:%S')} {text}")
        self._live.console.print(f"ktrain: {text}", markup=False, highlight=False)

    def update(self, picture: Picture) -> None:
        loss = picture.first.get("loss")
        if loss is not None and (not self._losses or self._losses[-1] != loss):
            self._losses.append(loss)
        self._live.update(panel(self._title, picture, list(self._losses), now=time.time()))

    def close(self) -> None:
        self._live.stop()


def open_view(title: str, *, quiet: bool) -> View:
    """The panel on a terminal, lines elsewhere."""
    if sys.stderr.isatty() and not quiet:
        return Panel(title)
    return Lines(sys.stderr)


def panel(title: str, picture: Picture, losses: Sequence[float], *, now: float) -> "RenderableType":
    """The whole picture."""
    from rich.console import Group
    from rich.panel import Panel as Box
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    first = picture.first
    head = Text(progress.line(picture, now=now))
    bar = Table.grid()  # a bar by itself ends no line
    bar.add_row(ProgressBar(total=1.0, completed=first.get("progress", 0.0), width=60))
    curve = Text(f"loss {sparkline(losses)}" if losses else "")
    return Box(Group(head, bar, curve, ranks(picture, now=now)), title=title, title_align="left")


def ranks(picture: Picture, *, now: float) -> "Table":
    """A row per rank."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("rank", "phase", "step", "last step", "memory"):
        table.add_column(name, justify="left" if name == "phase" else "right")
    for rank in picture.ranks:
        table.add_row(*row(rank, now=now))
    return table


def row(rank: dict[str, Any], *, now: float) -> tuple[str, ...]:
    """Rank, phase, step, age of the last step, memory."""
    if not rank.get("alive", True):
        return (str(rank["rank"]), f"exit {rank.get('exit_code')}", "", "", "")
    age = f"{now - rank['last_step_at']:.1f}s" if rank.get("last_step_at") else ""
    memory = f"{rank['memory_bytes'] / 2**20:.0f} MiB" if rank.get("memory_bytes") else ""
    return (str(rank["rank"]), rank.get("phase", "starting"), str(rank.get("step", "")), age, memory)


def sparkline(values: Sequence[float]) -> str:
    """The values as a row of bars; what is not finite is a gap."""
    finite = [value for value in values if abs(value) < float("inf")]
    if not finite:
        return ""
    low, span = min(finite), max(finite) - min(finite)
    scale = (len(_BARS) - 1) / span if span else 0.0
    return "".join(_BARS[int((value - low) * scale)] if abs(value) < float("inf") else " " for value in values)
