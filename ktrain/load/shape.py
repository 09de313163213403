"""What the schema has at a path of the job file: its keys, and whether a text is expected there."""

from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from ktrain.spec import Model, TrainingJob


def keys_at(path: Sequence[str | int]) -> list[str]:
    """The keys of the mapping at this path; none where any key is right."""
    return sorted({alias for model in _models_at(path) for alias in aliases(model)})


def aliases(model: type[Model]) -> dict[str, Any]:
    """Key in the file → annotation."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def paths_of(key: str) -> list[str]:
    """All places of the schema that have this key, as dotted paths."""
    return sorted({".".join((*path, key)) for path, model in _walk(TrainingJob, ()) if key in aliases(model)})


def expects_text(path: Sequence[str | int]) -> bool:
    """Whether the schema wants a text at this path, whatever it looks like."""
    found = _annotations_at(path)
    return bool(found) and all(annotation is str for annotation in found)


def is_list(path: Sequence[str | int]) -> bool:
    """Whether the schema wants a list at this path."""
    return any(get_origin(annotation) in (tuple, list) for annotation in _annotations_at(path))


def _models_at(path: Sequence[str | int]) -> list[type[Model]]:
    return [it for it in _annotations_at(path) if isinstance(it, type) and issubclass(it, Model)]


def _annotations_at(path: Sequence[str | int]) -> list[Any]:
    found: list[Any] = [TrainingJob]
    for part in path:
        found = [inner for annotation in found for inner in _step(annotation, part)]
    return found


def _step(annotation: Any, part: str | int) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return list(alternatives(aliases(annotation)[part])) if part in aliases(annotation) else []
    arguments = get_args(annotation)
    if get_origin(annotation) is dict and len(arguments) == 2:
        return list(alternatives(arguments[1]))
    if get_origin(annotation) in (tuple, list) and arguments:
        return list(alternatives(arguments[0]))
    return []


def alternatives(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows, without None and without wrapping."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from alternatives(part)
    elif annotation is not type(None):
        yield annotation


def _walk(model: type[Model], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], type[Model]]]:
    yield path, model
    for key, annotation in aliases(model).items():
        for inner in alternatives(annotation):
            if isinstance(inner, type) and issubclass(inner, Model):
                yield from _walk(inner, (*path, key))
