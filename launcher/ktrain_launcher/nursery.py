"""Ranks as children of a warm interpreter: what `subprocess` would give us, a second or several sooner."""

import json
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ktrain.guard import deaf

_WARM: Final = Path(__file__).with_name("warm.py")
FORK: Final = "fork" if sys.platform == "linux" else "exec"
START_SECONDS: Final = 60.0  # a fork takes milliseconds; a machine that thrashes may take long


@dataclass(frozen=True, slots=True)
class Command:
    """What a rank runs, and where."""

    argv: Sequence[str]
    cwd: Path


class Child:
    """A rank, with Popen's words."""

    def __init__(self, nursery: "Nursery", pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its return code, None while it runs."""
        self._nursery.listen(0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Its return code; raises subprocess.TimeoutExpired."""
        end = time.monotonic() + timeout
        while self.returncode is None:
            left = end - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            self._nursery.listen(min(left, 0.1))
        return self.returncode

    def bury(self) -> None:
        """Gives its number back to the system; call it when its group is gone too."""
        self._nursery.say(reap=self.pid)


class Nursery:
    """Starts the warm interpreter, and another one when it has died; one thread at a time talks to it."""

    def __init__(self, command: Command, env: Mapping[str, str], modules: Sequence[str], *, how: str = FORK) -> None:
        self._command, self._env, self._modules, self._how = command, dict(env), list(modules), how
        self._lock = threading.RLock()
        self._children: dict[int, Child] = {}
        self._answers: list[Child] = []
        self._rest = b""
        self._begin()

    @property
    def pid(self) -> int:
        """Of the warm interpreter."""
        return self._process.pid

    def is_ready(self) -> bool:
        """Whether it has imported everything; a dead one is replaced."""
        self.listen(0)
        if self._is_gone:
            self._begin()
        return self._is_ready

    def start(self, env: Mapping[str, str], out: Path, err: Path, command: Command | None = None) -> Child:
        """A rank (or another program) with this environment, its output in these files. RuntimeError when it cannot be started."""
        runs = command or self._command
        with self._lock:
            self.say(argv=list(runs.argv), cwd=str(runs.cwd), env=dict(env), out=str(out), err=str(err))
            end = time.monotonic() + START_SECONDS
            while not self._answers:
                if self._is_gone or time.monotonic() > end:
                    raise RuntimeError("no rank can be started: the interpreter that they are forked from has ended")
                self.listen(0.1)
            return self._answers.pop()

    def listen(self, seconds: float) -> None:
        """Takes in what it has to say."""
        with self._lock:
            if self._is_gone or not select.select([self._channel], [], [], seconds)[0]:
                return
            try:
                data = self._channel.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                self._lose()
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._heed(json.loads(line))

    def say(self, **word: Any) -> None:
        """One word to it; a dead one hears nothing."""
        with self._lock:
            try:
                self._channel.sendall(json.dumps(word).encode() + b"\n")
            except OSError:
                self._lose()

    def close(self) -> None:
        """Ends it."""
        with self._lock:
            self._channel.close()
            self._is_gone = True
        self._process.wait()

    def _begin(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs, deaf():
            self._process = subprocess.Popen(
                [sys.executable, str(_WARM), str(theirs.fileno()), self._how, *self._modules],
                env=self._env, stdin=subprocess.DEVNULL, start_new_session=True, pass_fds=[theirs.fileno()],
            )  # fmt: skip
        self._channel, self._rest = ours, b""
        self._answers.clear()
        self._is_ready = self._is_gone = False

    def _heed(self, word: Mapping[str, Any]) -> None:
        if "ready" in word:
            self._is_ready = True
        elif "returncode" in word:
            self._children.pop(word["pid"]).returncode = word["returncode"]
        else:
            child = self._children[word["pid"]] = Child(self, word["pid"])
            self._answers.append(child)

    def _lose(self) -> None:
        """It has died, and its ranks with it."""
        self._is_gone = True
        self._channel.close()
        self._process.wait()
        for child in self._children.values():
            child.returncode = -signal.SIGKILL
        self._children.clear()
