"""Ranks that say nothing are not waited for without end."""

from pathlib import Path

import pytest
from torch import nn
from torch._C._distributed_c10d import HashStore, TCPStore

from ktrain.errors import CheckpointError, FencedError, PeerLostError
from ktrain.history import Token, claim_epoch
from ktrain.storage.memory import MemoryStorage
from ktrain_trainer.checkpoint import Checkpointer, Options, World
from ktrain_trainer.checkpoint.exchange import Exchange
from tests.ranks import run_ranks, values


def lonely(**more: float) -> World:
    """The first of two ranks, the second of which never comes."""
    return World.from_store(HashStore(), rank=0, size=2, timeout_seconds=0.01, **more)


def test_an_agreement_without_the_others_ends() -> None:
    with pytest.raises(PeerLostError, match=r"not all of 2 ranks answered within 0.01 s"):
        lonely().agree(True)


def test_a_save_without_the_others_ends() -> None:
    storage = MemoryStorage()
    saver = Checkpointer(
        storage, claim_epoch(storage, attempt=1), lonely(), run="run", options=Options(deadline_seconds=0.01)
    )
    with pytest.raises(CheckpointError, match=r"part of the save within 0\.01 s"):
        saver.save(1, nn.Linear(2, 2), None, {}).result(30)


def test_a_save_without_rank_0_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktrain_trainer.checkpoint.exchange._VERDICT_MARGIN_SECONDS", 0)
    world = World.from_store(HashStore(), rank=1, size=2)
    with pytest.raises(CheckpointError, match="rank 0 gave no verdict"):
        Exchange(world, deadline_seconds=0.01).verdict()


def test_a_store_that_is_gone_means_a_lost_peer() -> None:
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    world = World.from_store(
        TCPStore("127.0.0.1", server.port, is_master=False, wait_for_workers=False), rank=1, size=2
    )
    del server
    with pytest.raises(PeerLostError, match="the store that the ranks share cannot be reached"):
        world.agree(True)
    storage = MemoryStorage()
    with pytest.raises(PeerLostError):
        Checkpointer(storage, Token(1, 1), world, run="run").save(1, nn.Linear(2, 2), None, {}).result(30)


def test_a_rank_that_is_still_uploading_stops_when_another_has_failed() -> None:
    store = HashStore()
    first, second = (Exchange(World.from_store(store, rank=rank, size=2), deadline_seconds=9) for rank in (0, 1))
    first.check()
    second.fail(FencedError("too late"))
    with pytest.raises(FencedError, match="rank 1: too late"):
        first.check()


def test_several_ranks_need_a_store() -> None:
    with pytest.raises(ValueError, match="2 ranks need a store"):
        World(0, 2)


def test_a_rank_that_cannot_even_begin_its_save_is_heard_of(tmp_path: Path) -> None:
    said = values(run_ranks("tests.checkpoint.work:save_nonsense", 3, str(tmp_path)))
    assert all("rank 1: the checkpoint's meta must be plain JSON" in each for each in (said[0], said[2]))
    assert said[1].startswith("CheckpointError: the checkpoint's meta must be plain JSON")
