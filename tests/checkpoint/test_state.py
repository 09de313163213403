"""Models and optimizers of every kind come back bit for bit, and changed ones are refused with a sentence."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ktrain.checkpoints.manifest import Manifest
from ktrain.checkpoints.read import read_manifest
from ktrain.errors import CheckpointError, CheckpointMismatchError
from ktrain.history import begin_run, claim_epoch
from ktrain.storage import Storage, scoped
from ktrain.storage.memory import MemoryStorage
from ktrain_trainer.checkpoint import Checkpointer, World, init_from
from tests.checkpoint.models import Net, build, digests, train
from tests.checkpoint.work import SMALL


def checkpointer(storage: Storage) -> Checkpointer:
    return Checkpointer(storage, claim_epoch(storage, attempt=1), World(), run="run", options=SMALL)


def saved(model: nn.Module, optimizer: torch.optim.Optimizer | None, **more: Any) -> tuple[MemoryStorage, Manifest]:
    storage = MemoryStorage()
    commit = checkpointer(storage).save(1, model, optimizer, {}, **more).result(30)
    return storage, read_manifest(storage, commit)


@pytest.mark.parametrize("name", ["adamw", "amsgrad", "momentum", "sgd", "tiny"])
@pytest.mark.parametrize("steps", [0, 3])
def test_an_optimizer_goes_on_as_if_nothing_had_happened(name: str, steps: int) -> None:
    model, optimizer = build("plain", name)
    train(model, optimizer, range(steps))
    before = digests(model, optimizer)
    storage, _ = saved(model, optimizer)
    assert digests(model, optimizer) == before, "saving changed something"
    other, another = build("plain", name, start=99.0)
    checkpointer(storage).restore(other, another)
    assert digests(other, another) == before
    train(model, optimizer, range(steps, steps + 3))
    train(other, another, range(steps, steps + 3))
    assert digests(other, another) == digests(model, optimizer)


def test_state_that_the_checkpoint_has_not_is_dropped() -> None:
    storage, _ = saved(*build("plain", "adamw"))
    model, optimizer = build("plain", "adamw")
    train(model, optimizer, range(2))
    checkpointer(storage).restore(model, optimizer)
    assert dict(optimizer.state) == {}
    assert digests(model, optimizer) == digests(*build("plain", "adamw"))


def test_live_state_is_refilled_in_place() -> None:
    model, optimizer = build("plain", "adamw")
    train(model, optimizer, range(2))
    storage, _ = saved(model, optimizer)
    parameter = next(iter(optimizer.state))
    tensor = optimizer.state[parameter]["exp_avg"]
    train(model, optimizer, range(2, 4))
    checkpointer(storage).restore(model, optimizer)
    assert optimizer.state[parameter]["exp_avg"] is tensor


def test_hyperparameters_are_the_jobs_and_counters_the_checkpoints() -> None:
    model, optimizer = build("plain", "tiny")
    train(model, optimizer, range(4))
    storage, manifest = saved(model, optimizer)
    other, another = build("plain", "tiny")
    another.param_groups[0]["lr"] = 0.125
    checkpointer(storage).restore(other, another)
    assert another.param_groups[0]["lr"] == 0.125
    assert another.param_groups[0]["count"] == 4
    assert manifest.optimizer is not None
    assert manifest.optimizer["groups"][0]["values"] == {"lr": 0.5, "count": 4}


def test_the_order_of_parameters_and_groups_does_not_matter() -> None:
    model, optimizer = build("plain", "momentum")
    train(model, optimizer, range(2))
    storage, _ = saved(model, optimizer)
    other, _ = build("plain", start=99.0)
    another = torch.optim.SGD(reversed(list(other.parameters())), lr=0.1, momentum=0.9)
    checkpointer(storage).restore(other, another)
    assert (
        digests(other, another).items()
        >= {name: it for name, it in digests(model, optimizer).items() if not name.startswith("group")}.items()
    )


def test_a_parameter_frozen_at_the_save_may_be_trained_later() -> None:
    model, optimizer = build("plain", "adamw")
    train(model, optimizer, range(2))
    storage, _ = saved(model, optimizer)
    other, _ = build("plain", start=99.0)
    assert isinstance(other, Net)
    other.frozen.requires_grad_()
    another = torch.optim.AdamW(other.parameters(), lr=0.01)
    checkpointer(storage).restore(other, another)
    train(other, another, range(2, 3))
    assert another.state[other.frozen]["step"] == 1
    assert another.state[other.scale]["step"] == 3


def test_shared_weights_are_stored_once_and_load_where_they_are_not_shared() -> None:
    model, _ = build("plain")
    storage, manifest = saved(model, None)
    assert manifest.aliases == {"model.head.weight": "model.embed.weight"}
    other, _ = build("plain", start=99.0)
    assert isinstance(other, Net)
    other.head.weight = nn.Parameter(torch.zeros(11, 6))
    checkpointer(storage).restore(other, None)
    assert torch.equal(other.head.weight, other.embed.weight)
    assert other.head.weight is not other.embed.weight


class Zoo(nn.Module):
    """A tensor of every kind."""

    def __init__(self, fill: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((3, 4), float(fill)).t())  # not contiguous
        self.coarse = nn.Parameter(torch.full((5,), fill, dtype=torch.bfloat16))
        self.empty = nn.Parameter(torch.zeros(0, 7))
        self.single = nn.Parameter(torch.tensor(float(fill)))
        for dtype in (torch.float64, torch.float16, torch.int64, torch.int8, torch.uint8, torch.complex64):
            self.register_buffer(str(dtype).removeprefix("torch."), torch.full((3,), fill, dtype=dtype))
        self.register_buffer("bits", torch.tensor([True, False, bool(fill)]))
        self.register_buffer("count", torch.tensor(fill))
        self.register_buffer("odd", torch.tensor([float("nan"), float("inf"), -0.0]))
        self.register_buffer("float8", torch.full((3,), fill).to(torch.float8_e4m3fn))
        self.register_buffer("images", torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last))


def test_tensors_of_every_kind_come_back() -> None:
    model = Zoo(1)
    storage, _ = saved(model, None, extra={"ema.weight": torch.arange(4.0)})
    other, extra = Zoo(0), {"ema.weight": torch.zeros(4)}
    checkpointer(storage).restore(other, None, extra=extra)
    assert digests(other, None) == digests(model, None)
    assert extra["ema.weight"].tolist() == [0, 1, 2, 3]
    assert other.weight.stride() == model.weight.stride()


def test_names_are_those_of_the_bare_module() -> None:
    model, _ = build("plain")
    _, plain = saved(model, None)
    compiled = torch.compile(model)
    _, wrapped = saved(compiled, None)  # type: ignore[arg-type]
    _, parallel = saved(nn.DataParallel(model), None)
    assert plain.tensors.keys() == wrapped.tensors.keys() == parallel.tensors.keys()
    assert "model.body.0.weight" in plain.tensors
    assert "model.scratch" not in plain.tensors


class Changed(Net):
    """Like the other, except for what a test changes."""

    def __init__(self, *, without: str = "", **changed: Tensor) -> None:
        super().__init__()
        for name, tensor in changed.items():
            setattr(self, name, nn.Parameter(tensor))
        if without:
            delattr(self, without)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (Changed(scale=torch.ones(4)), r"model.scale has shape \[3\] in the checkpoint, but \[4\] in this job"),
        (Changed(scale=torch.ones(3).half()), "model.scale is float32 in the checkpoint, but float16 in this job"),
        (Changed(bias=torch.ones(3)), "of another model: it lacks model.bias; a changed model needs a new run"),
        (Changed(without="scale"), "of another model: it has model.scale, which the model has not"),
        (nn.Linear(1, 1), r"it lacks model.bias, model.weight and it has .* and 7 more, which the model has not"),
    ],
)
def test_a_changed_model_is_refused_and_left_alone(model: nn.Module, sentence: str) -> None:
    storage, _ = saved(build("plain")[0], None)
    before = digests(model, None)
    with pytest.raises(CheckpointMismatchError, match=sentence) as caught:
        checkpointer(storage).restore(model, None)
    assert digests(model, None) == before
    assert caught.value.exit.is_permanent


def test_another_optimizer_is_refused() -> None:
    storage, _ = saved(*build("plain", "adamw"))
    with pytest.raises(
        CheckpointMismatchError, match=r"holds the state of AdamW, this job's optimizer is SGD; .*initFrom"
    ):
        checkpointer(storage).restore(*build("plain", "sgd"))


def test_a_checkpoint_without_optimizer_is_refused_where_one_is_needed() -> None:
    storage, _ = saved(build("plain")[0], None)
    with pytest.raises(CheckpointMismatchError, match="holds no optimizer state; to begin from its weights alone"):
        checkpointer(storage).restore(*build("plain"))


def test_an_optimizer_of_another_model_is_refused() -> None:
    pending = checkpointer(MemoryStorage()).save(0, build("plain")[0], build("plain")[1], {})
    with pytest.raises(CheckpointError, match="that is not in the model"):
        pending.result(30)


class Odd(torch.optim.SGD):
    """Keeps what a checkpoint cannot."""

    def __init__(self, params: Iterable[Tensor], key: Any, value: Any) -> None:
        super().__init__(params, lr=0.1)
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter][key] = value


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("memory", {"a": 1}, "optim.weight.memory is a dict"),
        ("memory", object(), "optim.weight.memory is a object"),
        ("a.b", 1, "key 'a.b'; expected a name without dots"),
        (7, 1, "has the key 7"),
    ],
)
def test_state_that_cannot_be_stored_is_refused_at_the_save(key: Any, value: Any, sentence: str) -> None:
    model = nn.Linear(1, 1)
    pending = checkpointer(MemoryStorage()).save(0, model, Odd(model.parameters(), key, value), {})
    with pytest.raises(CheckpointError, match=sentence):
        pending.result(30)


@pytest.mark.parametrize("value", [1, 2.5, float("inf"), -0.0, None, True, "text", [1, [2.5, None]]])
def test_values_that_are_no_tensors_come_back(value: Any) -> None:
    model = nn.Linear(1, 1)
    storage, _ = saved(model, Odd(model.parameters(), "memory", value))
    other = nn.Linear(1, 1)
    optimizer = Odd(other.parameters(), "memory", "nothing yet")
    checkpointer(storage).restore(other, optimizer)
    assert [state["memory"] for state in optimizer.state.values()] == [value, value]


def test_extra_state_of_a_module_is_refused() -> None:
    class Stateful(nn.Linear):
        def get_extra_state(self) -> object:
            return {}

    pending = checkpointer(MemoryStorage()).save(0, nn.Sequential(Stateful(1, 1)), None, {})
    with pytest.raises(CheckpointError, match=r"module 0 \(Stateful\) has extra state"):
        pending.result(30)


def test_meta_is_no_deeper_than_what_can_be_read_again() -> None:
    def nested(levels: int) -> dict[str, Any]:
        return {"a": nested(levels - 1)} if levels > 1 else {}

    storage = MemoryStorage()
    saver = checkpointer(storage)
    deepest = saver.save(0, nn.Linear(1, 1), None, nested(100)).result(30)
    assert read_manifest(storage, deepest).meta == nested(100)
    with pytest.raises(CheckpointError, match="nested more than 100 levels deep"):
        saver.save(1, nn.Linear(1, 1), None, nested(101)).result(30)
    with pytest.raises(CheckpointError):
        saver.save(2, nn.Linear(1, 1), None, nested(900)).result(30)


@pytest.mark.parametrize("meta", [{"a": float("nan")}, {"a": object()}, {"a": {1, 2}}], ids=["nan", "object", "set"])
def test_meta_must_be_json(meta: dict[str, Any]) -> None:
    pending = checkpointer(MemoryStorage()).save(0, nn.Linear(1, 1), None, meta)
    with pytest.raises(CheckpointError, match="meta must be plain JSON"):
        pending.result(30)


def test_a_run_without_commits_restores_nothing() -> None:
    storage = MemoryStorage()
    assert checkpointer(storage).restore(*build("plain")) is None


def a_job() -> MemoryStorage:
    """A job's folder with a current run that has two commits."""
    job = MemoryStorage()
    run = begin_run(job, {})
    saver = checkpointer(scoped(job, run))
    model, optimizer = build("plain")
    for step in (1, 2):
        train(model, optimizer, range(step - 1, step))
        saver.save(step, model, optimizer, {}).result(30)
    return job


@pytest.mark.parametrize(("source", "step"), [("anywhere", 2), ("s3://b/x@1", 1), ("user@host/x@2", 2)])
def test_weights_come_from_the_newest_commit_or_a_step(source: str, step: int) -> None:
    job = a_job()
    opened = []

    def opener(url: str) -> Storage:
        opened.append(url)
        return job

    model, _ = build("plain", start=99.0)
    assert init_from(model, source, world=World(), opener=opener).step == step
    wanted, optimizer = build("plain")
    train(wanted, optimizer, range(step))
    assert digests(model, None) == digests(wanted, None)
    assert opened == [source.removesuffix(f"@{step}")]


def test_weights_may_be_of_another_precision() -> None:
    job = a_job()
    model = build("plain", start=99.0)[0].to(torch.bfloat16)
    init_from(model, "x@1", world=World(), opener=lambda _: job)
    wanted, optimizer = build("plain")
    train(wanted, optimizer, range(1))
    assert digests(model, None) == digests(wanted.to(torch.bfloat16), None)


@pytest.mark.parametrize(
    ("storage", "source", "sentence"),
    [
        (MemoryStorage(), "x", "x is neither a job's folder nor a run's"),
        (a_job(), "x@7", "x has no checkpoint of step 7; it has 1, 2"),
    ],
)
def test_a_source_without_weights_is_told(storage: Storage, source: str, sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        init_from(build("plain")[0], source, world=World(), opener=lambda _: storage)


def test_a_source_whose_run_has_no_checkpoint_is_told() -> None:
    job = MemoryStorage()
    begin_run(job, {})
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        init_from(build("plain")[0], "x", world=World(), opener=lambda _: job)
