"""Ranks forked from a warm interpreter: like fresh ones, and sooner."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from ktrain_launcher.nursery import Child, Command, Nursery
from ktrain_launcher.process import ask_for_stacks
from tests.launcher.gang import is_alive, kill, until


@contextmanager
def nursery(
    folder: Path, program: str, *args: str, modules: tuple[str, ...] = (), how: str = "fork"
) -> Iterator[Nursery]:
    (folder / "program.py").write_text(program, encoding="utf-8")
    made = Nursery(Command([sys.executable, "program.py", *args], folder), os.environ, modules, how=how)
    try:
        until(made.is_ready)
        yield made
    finally:
        made.close()


def start(made: Nursery, folder: Path, **env: str) -> Child:
    return made.start({**os.environ, **env}, folder / "out", folder / "err")


def said(folder: Path, name: str = "out") -> str:
    path = folder / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def run(folder: Path, program: str, *args: str, env: Mapping[str, str] | None = None, how: str = "fork") -> int:
    with nursery(folder, program, *args, how=how) as made:
        child = start(made, folder, **(env or {}))
        code = child.wait(30)
        child.bury()
    return code


@pytest.mark.parametrize("how", ["fork", "exec"])
def test_a_rank_finds_what_a_fresh_interpreter_would_give_it(how: str, tmp_path: Path) -> None:
    odd = ["$$", "${local_rank}", "a b", "", "é\n"]
    program = (
        "import os, sys, signal, __main__\n"
        "print(sys.argv[1:], os.environ['MINE'], os.getcwd(), sys.path[0], __name__, __main__.__file__, sep='|')\n"
        "print(os.getsid(0) == os.getpid(), signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, signal.pthread_sigmask(0, []), sep='|')\n"
        "print(any('ktrain_launcher' in path for path in sys.path), file=sys.stderr)\n"
    )
    assert run(tmp_path, program, *odd, env={"MINE": "1"}, how=how) == 0
    assert said(tmp_path) == f"{odd}|1|{tmp_path}|{tmp_path}|__main__|{tmp_path}/program.py\nTrue|True|set()\n"
    assert said(tmp_path, "err") == "False\n"


def test_two_ranks_draw_other_numbers(tmp_path: Path) -> None:
    program = "import random, numpy; print(random.random(), numpy.random.rand())"
    with nursery(tmp_path, program, modules=("numpy",)) as made:
        for child in [start(made, tmp_path) for _ in range(2)]:
            assert child.wait(30) == 0
            child.bury()
    first, second = said(tmp_path).splitlines()
    assert not set(first.split()) & set(second.split())


@pytest.mark.parametrize(
    ("program", "code"),
    [("import sys; sys.exit(70)", 70), ("import os; os.kill(os.getpid(), 9)", -9), ("", 0), ("import os; os._exit(203)", 203),
        ("import sys; sys.exit(-1)", 255), ("import sys; sys.exit('a word')", 1), ("raise KeyboardInterrupt", -2),
        ("import threading, time; threading.Thread(target=time.sleep, args=(0.1,)).start()", 0)],
    ids=["exit", "signal", "end", "at once", "negative", "word", "interrupted", "thread"],
)  # fmt: skip
@pytest.mark.parametrize("how", ["fork", "exec"])
def test_how_a_rank_ended_is_told(program: str, code: int, how: str, tmp_path: Path) -> None:
    assert run(tmp_path, program, how=how) == code


@pytest.mark.parametrize("how", ["fork", "exec"])
def test_a_traceback_begins_in_the_program(how: str, tmp_path: Path) -> None:
    assert run(tmp_path, "import atexit\natexit.register(print, 'bye')\n1 / 0\n", how=how) == 1
    told = said(tmp_path, "err")
    assert told.startswith(f'Traceback (most recent call last):\n  File "{tmp_path}/program.py", line 3, in <module>\n')
    assert told.endswith("ZeroDivisionError: division by zero\n")
    assert "warm.py" not in told
    assert said(tmp_path) == "bye\n"


def test_a_rank_that_knows_no_stacks_survives_being_asked(tmp_path: Path) -> None:
    with nursery(tmp_path, "import time; print('up', flush=True); time.sleep(0.2); print('done')") as made:
        child = start(made, tmp_path)
        until(lambda: said(tmp_path) == "up\n")
        ask_for_stacks(child.pid)
        assert child.wait(30) == 0
    assert said(tmp_path) == "up\ndone\n"


def test_the_number_of_a_rank_is_kept_until_it_is_buried(tmp_path: Path) -> None:
    with nursery(tmp_path, "") as made:
        child = start(made, tmp_path)
        assert child.wait(30) == 0
        assert Path(f"/proc/{child.pid}").exists()
        child.bury()
        until(lambda: not Path(f"/proc/{child.pid}").exists())


def test_without_its_interpreter_a_rank_is_killed_and_the_next_one_gets_another(tmp_path: Path) -> None:
    with nursery(tmp_path, "import time; time.sleep(600)") as made:
        child = start(made, tmp_path)
        kill(made.pid)
        assert child.wait(30) == -signal.SIGKILL
        until(lambda: not is_alive(child.pid))
        until(made.is_ready)
        again = start(made, tmp_path)
        kill(again.pid)
        assert again.wait(30) == -signal.SIGKILL


PARENT = """
import os, sys, time
from pathlib import Path
from ktrain_launcher.nursery import Command, Nursery
folder = Path(sys.argv[1])
made = Nursery(Command([sys.executable, "program.py"], folder), os.environ, ())
while not made.is_ready(): time.sleep(0.01)
print(made.start(os.environ, folder / "out", folder / "err").pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the guard alone does it")
def test_a_rank_dies_with_its_launcher(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import time; time.sleep(600)", encoding="utf-8")
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    rank = int(parent.stdout.readline())
    parent.stdout.close()
    assert is_alive(rank)
    parent.kill()
    parent.wait()
    until(lambda: not is_alive(rank))


def test_a_rank_is_named_by_what_it_runs(tmp_path: Path) -> None:
    with nursery(tmp_path, "import time; time.sleep(600)", "a", "b c") as made:
        child = start(made, tmp_path, **{f"MORE{number}": "x" * 100 for number in range(50)})
        title = f"{sys.executable} program.py a 'b c'"
        until(lambda: title in Path(f"/proc/{child.pid}/cmdline").read_text(encoding="utf-8"))
        kill(child.pid)
        child.wait(30)
