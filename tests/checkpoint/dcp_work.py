"""What ranks do in the tests of torch.distributed.checkpoint over ktrain's storage."""

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.checkpoint.state_dict_saver import save as dcp_save
from torch.optim import Optimizer

from ktrain_trainer.dcp import LoadPlanner, Reader, Writer
from tests.checkpoint.models import build, digests, train
from tests.checkpoint.work import SMALL
from tests.faults import FaultyStorage, refuse
from tests.ranks import Rank


def state_of(model: nn.Module, optimizer: Optimizer, **more: Any) -> dict[str, Any]:
    weights, state = get_state_dict(model, optimizer)
    return {"model": weights, "optimizer": state, "empty": torch.zeros(0, 3), **more}


def save(rank: Rank, url: str, mode: str, steps: list[int]) -> None:
    """One writer, a checkpoint at each step."""
    rank.join_gloo()
    model, made = build(mode, "adamw", size=rank.size)
    writer, done = Writer(url, sizes=SMALL), 0
    for step in steps:
        train(model, made, range(done, step))
        state = state_of(model, made, step=step, note={"b": 1.5, "words": "a b"})
        dcp_save(state, storage_writer=writer, checkpoint_id=str(step))
        done = step


def restore(rank: Rank, url: str, mode: str, step: int | None = None) -> tuple[dict[str, str], Any]:
    """The newest checkpoint, or that of a step, into a model that begins elsewhere."""
    rank.join_gloo()
    model, made = build(mode, "adamw", size=rank.size, start=99.0)
    state = state_of(model, made, step=0, note={"b": 0.0, "words": ""})
    load(state, storage_reader=Reader(url, step=step), planner=LoadPlanner())
    set_state_dict(model, made, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    return digests(model, made), (state["step"], state["note"])


def save_in_background(rank: Rank, url: str) -> None:
    """The state changes while it is being written."""
    rank.join_gloo()
    model, made = build("fsdp", "adamw", size=rank.size)
    train(model, made, range(2))
    state = state_of(model, made, step=2, note={"b": 0.0, "words": ""})
    group: Any = dist.new_group(backend="gloo")  # beside the training's own collectives
    future: Any = async_save(state, storage_writer=Writer(url, sizes=SMALL), checkpoint_id="2", process_group=group)
    train(model, made, range(2, 4))
    future.result()


def save_again_and_fail(rank: Rank, url: str) -> str:
    """The same step once more, with other weights, and storage fails on the last rank in the middle of it."""
    rank.join_gloo()
    model, made = build("fsdp", "adamw", size=rank.size)
    train(model, made, range(2))
    writer = Writer(url, sizes=SMALL)
    dcp_save(state_of(model, made, step=2, note={"b": 0.0, "words": ""}), storage_writer=writer, checkpoint_id="2")
    train(model, made, range(2, 5))
    if rank.rank == rank.size - 1:
        writer._place._storage = FaultyStorage(writer._place.storage, refuse, only="create", at=2)
    try:
        dcp_save(state_of(model, made, step=2, note={"b": 0.0, "words": ""}), storage_writer=writer, checkpoint_id="2")
    except CheckpointException as error:
        return str(error)
    return "ok"
