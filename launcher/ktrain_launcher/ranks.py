"""The processes of one epoch in this pod: who has left and how, and how the others are made to."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any, Final

from ktrain.guard import Guard, kill_group
from ktrain.names import Exit
from ktrain.voice import Say
from ktrain_launcher import process
from ktrain_launcher.environment import error_file
from ktrain_launcher.exits import Ended, cause_of, code_of
from ktrain_launcher.nursery import Child

LAST_WORDS: Final = 40  # lines that decide what a plain script died of
REAP_SECONDS: Final = 10.0  # a process in uninterruptible sleep cannot be reaped at all
MAX_ERROR_FILE: Final = 1 << 20


class Ranks:
    """Children by rank, watched."""

    def __init__(
        self,
        processes: Mapping[int, Child],
        *,
        errors: Path,
        last_lines: Callable[[int], list[str]],
        guard: Guard,
        say: Say,
    ) -> None:
        self._processes = dict(processes)
        self._errors = errors
        self._last_lines = last_lines
        self._guard = guard
        self._say = say
        self._asked: set[int] = set()
        self.ended: dict[int, Ended] = {}
        self.begun = time.monotonic()

    def poll(self) -> list[Ended]:
        """Those that have left since the last call; whatever they had started is killed."""
        new = []
        for rank, each in self._processes.items():
            if rank not in self.ended and (returncode := each.poll()) is not None:
                self._bury(each)
                new.append(self._end(rank, returncode))
        return new

    @property
    def failed(self) -> list[Ended]:
        """Those that left with anything but 0, by themselves."""
        return [rank for rank in self.ended.values() if rank.code]

    @property
    def have_ended(self) -> bool:
        """Whether nobody is left."""
        return len(self.ended) == len(self._processes)

    @property
    def alive(self) -> list[int]:
        """Those that have not been seen to leave."""
        return [rank for rank in self._processes if rank not in self.ended]

    def pid(self, rank: int) -> int:
        """Of its process."""
        return self._processes[rank].pid

    def ask_to_stop(self) -> None:
        """SIGTERM, once to each."""
        for rank in self.alive:
            if rank not in self._asked:
                self._asked.add(rank)
                process.ask_to_stop(self._processes[rank].pid)

    def ask_for_stacks(self) -> None:
        """Their stacks go to their stderr, if they have registered for it."""
        for rank in self.alive:
            process.ask_for_stacks(self._processes[rank].pid)

    def ask_to_save(self) -> None:
        """A checkpoint of now: one rank is enough, for they agree on the step."""
        for rank in self.alive[:1]:
            process.ask_to_save(self._processes[rank].pid)

    def ask_for_profile(self, rank: int) -> None:
        """Its next steps are recorded."""
        if each := self._processes.get(rank):  # another thread may have killed it
            process.ask_for_profile(each.pid)

    def kill(self) -> None:
        """Everybody who is left, with all that they started."""
        alive = self.alive
        for rank in alive:
            kill_group(self._processes[rank].pid)
        for rank in alive:
            try:
                self._processes[rank].wait(REAP_SECONDS)
            except TimeoutExpired:
                self._say("rank_unkillable", rank=rank, pid=self._processes[rank].pid)
            self._bury(self._processes[rank])
        self._processes = {rank: each for rank, each in self._processes.items() if rank in self.ended}

    def blame(self, rank: int, code: int, message: str) -> None:
        """Ends a rank for a reason that its exit code cannot tell."""
        kill_group(self._processes[rank].pid)
        self._processes[rank].wait(REAP_SECONDS)
        self._bury(self._processes[rank])
        self.ended[rank] = Ended(rank, code, time.monotonic(), message=message)

    def error(self, rank: int) -> dict[str, Any]:
        """What the rank wrote before it failed, empty when nothing."""
        path = error_file(self._errors, rank)
        try:
            document = json.loads(path.read_bytes()[:MAX_ERROR_FILE])
        except (OSError, ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}

    def _bury(self, each: Child) -> None:
        kill_group(each.pid)
        each.bury()
        process.reap_group(each.pid)
        self._guard.remove(each.pid)

    def _end(self, rank: int, returncode: int) -> Ended:
        last = self._last_lines(rank)
        code = code_of(returncode, last[-LAST_WORDS:])
        message = self._message(rank, returncode, code, last) if code else ""
        ended = Ended(rank, code, time.monotonic(), by_signal=returncode < 0, message=message)
        self.ended[rank] = ended
        self._say("rank_exited", rank=rank, code=code, cause=cause_of(code), returncode=returncode)
        return ended

    def _message(self, rank: int, returncode: int, code: int, last: list[str]) -> str:
        how = f"was killed by signal {-returncode}" if returncode < 0 else f"exited with {returncode}"
        if code == Exit.KILLED:
            how += " (usually out of memory)"
        # Only a program that knows none of our codes is quoted: with the others the last line is about something else.
        said = next((line for line in reversed(last) if line.strip()), "") if 0 < returncode < 128 else ""
        words = self.error(rank).get("message") or said
        return f"rank {rank} {how}" + (f": {str(words).strip()}" if words else "")
