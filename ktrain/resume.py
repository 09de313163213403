"""Whether a run may go on under a changed spec: every key of the schema is free, warn or refuse."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Final, Union, cast, get_args, get_origin

from pydantic.fields import FieldInfo

from ktrain.errors import SpecError
from ktrain.spec import Mark, Model, TrainingJob

_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One key whose value differs from the run's."""

    path: str
    mark: Mark
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.path} was {_text(self.old)} when this run began; it is {_text(self.new)} now"


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """All keys that differ between two resolved specs (JSON documents), with their marks."""
    if "spec" in old or "spec" in new:
        return list(_walk(TrainingJob, old, new, ""))
    return list(_walk(_section("trainer"), old.get("trainer", {}), new.get("trainer", {}), "trainer."))


def check(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What to tell about the changes, a sentence each; SpecError when one of them would make resume silently wrong."""
    found = changes(old, new)
    refused = [change for change in found if change.mark == "refuse"]
    if refused:
        told = "\n".join(f"  {change}" for change in refused)
        raise SpecError(
            f"this run cannot go on under the changed spec:\n{told}\nchange it back, or begin a new run with --fresh"
        )
    return [f"{change}: the numbers will differ from here on" for change in found if change.mark == "warn"]


def mark_of(field: FieldInfo) -> Mark | None:
    """The resume mark of a key of the schema; None when it was forgotten (a test fails on that)."""
    extra = field.json_schema_extra
    return cast("Mark | None", extra.get("x-resume")) if isinstance(extra, dict) else None


def _walk(model: type[Model], old: Mapping[str, Any], new: Mapping[str, Any], prefix: str) -> Iterator[Change]:
    for name, field in model.model_fields.items():
        key = field.alias or name
        before, after = old.get(key, _ABSENT), new.get(key, _ABSENT)
        inner = _model_in(field.annotation)
        if inner and isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _walk(inner, before, after, f"{prefix}{key}.")
        elif before is not _ABSENT and after is not _ABSENT and before != after:  # a key of another version has no say
            yield Change(f"{prefix}{key}", mark_of(field) or "refuse", before, after)


def _model_in(annotation: Any) -> type[Model] | None:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    if get_origin(annotation) in (Union, UnionType):
        return next((model for part in get_args(annotation) if (model := _model_in(part))), None)
    return None


def _section(name: str) -> type[Model]:
    spec = _model_in(TrainingJob.model_fields["spec"].annotation)
    section = _model_in(spec.model_fields[name].annotation) if spec else None
    assert section is not None
    return section


def _text(value: Any) -> str:
    text = "absent" if value is None else repr(value)
    return text if len(text) <= 120 else text[:117] + "…"
