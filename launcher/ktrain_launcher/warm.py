"""A warm interpreter: imports what every rank needs, once, and forks each rank from there in milliseconds.

Started by path with the socket's number, `fork` or `exec`, and the modules to import; it knows nothing of ktrain. With `exec`
each rank becomes a fresh interpreter instead: macOS's own libraries must not be used after a fork. One line of JSON per word:
`{"argv", "cwd", "env", "out", "err"}` asks for a rank and is answered `{"pid"}`; `{"reap": pid}` lets go of one that has
ended. By itself it says `{"ready": true}` and `{"pid", "returncode"}`.

A rank that has ended stays a zombie until its launcher lets go of it: meanwhile its number is nobody else's.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import random
import runpy
import select
import shlex
import signal
import socket
import sys
import threading
import types
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

PR_SET_PDEATHSIG: Final = 1
_FOR_LAUNCHERS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Warm:
    """The loop: one thread, because threads do not survive a fork."""

    def __init__(self, channel: socket.socket, *, is_exec: bool) -> None:
        self._channel = channel
        self._is_exec = is_exec
        self._rest = b""
        self._alive: set[int] = set()
        self._waker, waker = os.pipe()
        os.set_blocking(self._waker, False)
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> "Callable[[], None] | None":
        """Serves until the launcher has gone (None); in a new rank it returns what the rank has to do."""
        self._say(ready=True)
        while True:
            select.select([self._channel.fileno(), self._waker], [], [])
            with contextlib.suppress(BlockingIOError):
                os.read(self._waker, 4096)
            self._tell_ends()
            if not select.select([self._channel], [], [], 0)[0]:
                continue
            data = self._channel.recv(1 << 20)
            if not data:
                return None
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                if rank := self._heed(json.loads(line)):
                    return rank

    def _heed(self, word: Mapping[str, Any]) -> "Callable[[], None] | None":
        if "reap" in word:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(word["reap"], os.WNOHANG)  # one in uninterruptible sleep cannot be reaped at all
            return None
        me = os.getpid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # libraries' own threads are made for it
            pid = os.fork()
        if pid == 0:
            self._channel.close()
            become(word, parent=me)
            if self._is_exec:
                os.execvpe(word["argv"][0], word["argv"], word["env"])  # noqa: S606
            return lambda: execute(word["argv"][1:])
        self._alive.add(pid)
        self._say(pid=pid)
        return None

    def _tell_ends(self) -> None:
        for pid in sorted(self._alive):
            if (code := _ended(pid)) is not None:
                self._alive.discard(pid)
                self._say(pid=pid, returncode=code)

    def _say(self, **word: Any) -> None:
        with contextlib.suppress(OSError):  # the launcher has gone: the next read tells
            self._channel.sendall(json.dumps(word).encode() + b"\n")


def _ended(pid: int) -> int | None:
    """Its return code as Popen gives it, None while it runs; it stays a zombie."""
    if not hasattr(os, "waitid"):  # macOS before Python 3.13: no zombie is kept
        done, status = os.waitpid(pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if done else None
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def become(word: Mapping[str, Any], *, parent: int) -> None:
    """Makes this process what a freshly started interpreter would be."""
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # "Dump your stacks" and "save now" must not kill a program that never heard of them; who has replaces this.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    os.setsid()
    die_with_parent(parent)
    for path, descriptor in ((word["out"], 1), (word["err"], 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), descriptor)
    os.environ.clear()
    os.environ.update(word["env"])
    os.chdir(word["cwd"])
    _title(word["argv"])
    _reseed()


def die_with_parent(parent: int) -> None:
    """Linux kills us with our parent; elsewhere guard.py does, a moment later."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(137)  # it died before we could ask


def _title(argv: list[str]) -> None:
    """What ps shows."""
    with contextlib.suppress(ImportError):
        from setproctitle import setproctitle

        setproctitle(shlex.join(argv))


def _reseed() -> None:
    """Generators that a fresh interpreter would have seeded from the system; torch's own begins alike in all."""
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()


def execute(args: list[str]) -> None:
    """`-m MODULE ARGS…` or `FILE ARGS…`, as the interpreter would; a traceback begins in the program."""
    try:
        if args[0] == "-m":
            sys.argv = args[1:]
            sys.path.insert(0, str(Path.cwd()))
            runpy.run_module(args[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = args
            sys.path.insert(0, str(Path(args[0]).resolve().parent))
            _run_file(str(Path(args[0]).absolute()))
    except Exception as error:  # noqa: BLE001  -- whatever it is, it is shown as the interpreter would
        trace = error.__traceback__
        while trace and (trace.tb_frame.f_code.co_filename == __file__ or "runpy" in trace.tb_frame.f_code.co_filename):
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        sys.exit(1)


def _run_file(path: str) -> None:
    main = types.ModuleType("__main__")
    main.__file__ = path
    sys.modules["__main__"] = main
    exec(compile(Path(path).read_bytes(), path, "exec"), main.__dict__)  # noqa: S102  -- it is the program to run


def main() -> "Callable[[], None] | None":
    """`warm.py FD fork|exec MODULE…`."""
    for number in _FOR_LAUNCHERS:
        signal.signal(number, signal.SIG_IGN)
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    die_with_parent(os.getppid())
    with contextlib.suppress(ImportError):
        from setproctitle import getproctitle

        getproctitle()  # finds its memory while the environment still stands behind it
    del sys.path[0]  # ours would give its modules to whoever imports one of the same name
    is_exec = sys.argv[2] == "exec"
    for module in () if is_exec else sys.argv[3:]:
        with contextlib.suppress(Exception):  # a rank that cannot import it says so itself
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # pages that no collection writes to stay shared
    return Warm(channel, is_exec=is_exec).run()


def end(program: "Callable[[], None]") -> NoReturn:
    """Runs it and ends as the interpreter would, but for taking itself apart, as multiprocessing does after a fork.

    That would copy pages that are shared, for a second or two, and print what gc.freeze hides as leaks.
    """
    code, is_interrupted = 0, False
    try:
        program()
    except SystemExit as error:
        code = _exit_code(error.code)
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())
        is_interrupted = True
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):  # closed by the program
        sys.stdout.flush()
        sys.stderr.flush()
    if is_interrupted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code & 0xFF)


def _exit_code(said: object) -> int:
    if said is None or isinstance(said, int):
        return said or 0
    sys.stderr.write(f"{said}\n")
    return 1


if __name__ == "__main__":
    if program := main():
        end(program)
