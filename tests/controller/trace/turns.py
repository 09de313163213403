"""Threads of which one at a time goes on, in an order that is drawn: the same seed makes the same trace."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

REAL_SECONDS: Final = 60  # for what takes milliseconds
MAX_TURNS: Final = 20_000  # until nobody has anything to do
SOME: Final = (0, 0, 0, 1, 2, 5)


@dataclass(slots=True, eq=False)
class _Task:
    """One thread: it goes on when it has the turn, which it is given when what it waits for is so."""

    is_due: Callable[[], bool]
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


class Turns:
    """Whoever calls `go` has no turn itself, and rests until it returns."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._tasks: list[_Task] = []
        self._back = threading.Semaphore(0)
        self._mine = threading.local()
        self._errors: list[BaseException] = []
        self._left = 0  # turns

    def start(self, run: Callable[[], object]) -> None:
        """A thread that begins with its first turn."""
        task = _Task(_always)
        self._tasks.append(task)
        threading.Thread(target=self._run, args=(task, run), daemon=True).start()

    def wait(self, is_due: Callable[[], bool]) -> None:
        """Of one that has the turn: the others go on until that is so, and perhaps for longer."""
        task: _Task = self._mine.task
        task.is_due = is_due
        following = self._choose()
        if following is not task:
            self._give_turn(following)
            task.turn.acquire()

    def give_way(self) -> None:
        """As `wait`, for nothing."""
        self.wait(_always)

    def go(self, most: int = MAX_TURNS) -> None:
        """Until nobody has anything to do, or for so many turns."""
        self._left = most
        self._give_turn(self._choose())
        assert self._back.acquire(timeout=REAL_SECONDS), "a thread waits for what no turn will bring"
        assert not self._errors, self._errors
        assert self._left or most < MAX_TURNS, "there is something to do without end"

    def go_some(self) -> None:
        """Perhaps: whoever does slow things is overtaken by others now and then."""
        self.go(self._chance.choice(SOME))

    @property
    def is_mine(self) -> bool:
        """Whether the caller has the turn."""
        return hasattr(self._mine, "task")

    @property
    def are_over(self) -> bool:
        """Whether no thread is left."""
        return not self._tasks

    def _run(self, task: _Task, run: Callable[[], object]) -> None:
        self._mine.task = task
        task.turn.acquire()
        try:
            run()
        except Exception as error:  # noqa: BLE001  -- it is told to whoever waits
            self._errors.append(error)
        finally:
            self._tasks.remove(task)
            self._give_turn(None if self._errors else self._choose())

    def _choose(self) -> _Task | None:
        """From one thread to the next without a detour: waking threads is what costs time."""
        ready = [it for it in self._tasks if it.is_due()] if self._left else []
        self._left -= bool(ready)
        return self._chance.choice(ready) if ready else None

    def _give_turn(self, task: _Task | None) -> None:
        """To nobody: back to whoever called `go`."""
        (task.turn if task else self._back).release()


def _always() -> bool:
    return True
