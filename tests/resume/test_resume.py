"""A changed spec either resumes right, says what changes, or is refused."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic.fields import FieldInfo

from ktrain.errors import SpecError
from ktrain.resume import changes, check, mark_of
from ktrain.spec import Model, TrainingJob


def document(**trainer: Any) -> dict[str, Any]:
    section = {
        "duration": "10ep",
        "model": {"use": "m:Net"},
        "data": {"train": {"use": "m:Data"}},
        "batch": {"global": 8, "micro": 2},
        "optim": {"lr": 0.1},
        **trainer,
    }
    job = TrainingJob.model_validate({"metadata": {"name": "a"}, "spec": {"trainer": section}})
    return job.model_dump(mode="json", by_alias=True)


def models(model: type[Model], seen: set[type[Model]]) -> Iterator[type[Model]]:
    if model in seen:
        return
    seen.add(model)
    yield model
    for field in model.model_fields.values():
        for inner in parts(field.annotation):
            yield from models(inner, seen)


def parts(annotation: Any) -> Iterator[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for part in get_args(annotation):
        yield from parts(part)


def fields() -> Iterator[Any]:
    for model in models(TrainingJob, set()):
        for name, field in model.model_fields.items():
            yield pytest.param(field, id=f"{model.__name__}.{name}")


@pytest.mark.parametrize("field", list(fields()))
def test_every_key_of_the_schema_is_marked(field: FieldInfo) -> None:
    assert mark_of(field) in {"free", "warn", "refuse"}
    assert field.description


def test_the_same_spec_resumes_without_a_word() -> None:
    assert check(document(), document()) == []


def test_a_free_key_may_change_silently() -> None:
    assert check(document(), document(log={"every": "5step"}, parallel={"strategy": "fsdp2"})) == []


def test_a_changed_rate_is_told() -> None:
    (told,) = check(document(), document(optim={"lr": 0.2}))
    assert told.startswith("spec.trainer.optim.lr was 0.1 when this run began; it is 0.2 now")


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        pytest.param("spec.trainer.seed", {"seed": 1}, id="seed"),
        pytest.param("spec.trainer.model.args", {"model": {"use": "m:Net", "args": {"width": 2}}}, id="model"),
        pytest.param("spec.trainer.data.train.use", {"data": {"train": {"use": "m:Other"}}}, id="data"),
        pytest.param("spec.trainer.data.shuffle", {"data": {"train": {"use": "m:Data"}, "shuffle": False}}, id="order"),
        pytest.param("spec.trainer.optim.name", {"optim": {"lr": 0.1, "name": "sgd"}}, id="optimizer"),
        pytest.param("spec.trainer.task.loss.use", {"task": {"loss": {"use": "mse"}}}, id="loss"),
    ],
)
def test_what_would_make_resume_wrong_is_refused(path: str, changed: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=f"(?s){path} was .*--fresh") as caught:
        check(document(), document(**changed))
    assert caught.value.exit == 64


def test_all_changes_are_found_with_their_paths() -> None:
    found = changes(document(), document(batch={"global": 16, "micro": 4}, deterministic=True))
    assert [change.path for change in found] == [
        "spec.trainer.deterministic",
        "spec.trainer.batch.global",
        "spec.trainer.batch.micro",
    ]


def test_a_key_that_the_older_version_did_not_know_does_not_stop_a_resume() -> None:
    older = document()
    del older["spec"]["trainer"]["precision"]
    assert check(older, document(precision="bf16")) == []
