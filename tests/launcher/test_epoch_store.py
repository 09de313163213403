"""The ranks' store: real, new each time, and gone with its launcher."""

import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from torch.distributed import DistError, TCPStore  # type: ignore[attr-defined]

from ktrain.guard import Guard
from ktrain_launcher.epoch_store import EpochStore
from ktrain_launcher.nursery import Command, Nursery
from tests.launcher.gang import is_alive, kill, until

HOST = "127.0.0.1"


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    made = Nursery(Command([sys.executable, "-c", ""], tmp_path), os.environ, ["torch.distributed"])
    until(made.is_ready)
    yield made
    made.close()


@pytest.fixture
def guard() -> Iterator[Guard]:
    made = Guard()
    yield made
    made.close()


def store(nursery: Nursery, guard: Guard, folder: Path, bind: str = HOST) -> EpochStore:
    return EpochStore(nursery, guard, os.environ, folder=folder, bind=bind)


def rank(port: int) -> TCPStore:
    return TCPStore(HOST, port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=20))


def pid_of(made: EpochStore) -> int:
    assert made._child is not None
    return made._child.pid


@pytest.mark.parametrize("bind", [HOST, ""], ids=["one", "all"])
def test_ranks_meet_in_it(nursery: Nursery, guard: Guard, tmp_path: Path, bind: str) -> None:
    port = store(nursery, guard, tmp_path, bind).renew()
    one, other = rank(port), rank(port)
    one.set("a", "b")
    assert other.get("a") == b"b"


def test_the_next_one_is_empty_and_the_last_one_gone(nursery: Nursery, guard: Guard, tmp_path: Path) -> None:
    made = store(nursery, guard, tmp_path)
    first = rank(made.renew())
    first.set("a", "b")
    former = pid_of(made)
    assert not rank(made.renew()).check(["a"])
    assert not is_alive(former)
    with pytest.raises(DistError):
        first.get("a")


def test_it_goes_with_the_warm_interpreter(nursery: Nursery, guard: Guard, tmp_path: Path) -> None:
    made = store(nursery, guard, tmp_path)
    made.renew()
    former = pid_of(made)
    kill(nursery.pid)
    until(lambda: not is_alive(former))
    until(nursery.is_ready)
    rank(made.renew()).set("a", "b")


def test_one_that_cannot_be_opened_says_why(nursery: Nursery, guard: Guard, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the ranks' store cannot be opened: "):
        store(nursery, guard, tmp_path, bind="192.0.2.1").renew()
