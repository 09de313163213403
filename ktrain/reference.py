"""Pages of the documentation that are made from the code: every key of the job file, every lint rule."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from ktrain.lint import RULES
from ktrain.spec import Model, TrainingJob

_MARKS: Final = {"free": "", "warn": "told", "refuse": "refused"}


def job_page() -> str:
    """docs/job.md: the keys, section by section."""
    head = (
        "# The job file\n\nEvery key, its default, and what happens when its value has changed since the run began: nothing,\n"
        "it is told, or the resume is refused (`--fresh` begins a new run). Lengths of training are written `10ep`, `500step`,\n"
        "`2e6sample` or `1e9tok`; times `30s`, `10m`, `2h`, `7d`; sizes `8Gi`. `ktrain schema` prints the JSON Schema.\n"
    )
    return head + "".join(_section(path, model) for path, model in _models(TrainingJob, ""))


def lint_page() -> str:
    """docs/lint.md: the rules."""
    rows = "".join(f"| {rule.code} | {rule.level} | {rule.title} | {rule.why} |\n" for rule in RULES)
    return f"# Lint\n\nWhat `ktrain lint` warns of. Errors make it exit 3.\n\n| code | level | about | why |\n|---|---|---|---|\n{rows}"


def _section(path: str, model: type[Model]) -> str:
    rows = "".join(_row(field.alias or name, field) for name, field in model.model_fields.items())
    title = path or "top level"
    about = (model.__doc__ or "").strip().splitlines()[0]
    return f"\n## {title}\n\n{about}\n\n| key | default | when changed | what it is |\n|---|---|---|---|\n{rows}"


def _row(key: str, field: Any) -> str:
    mark = _MARKS[field.json_schema_extra["x-resume"]]
    doc = field.description.replace("|", "\\|") + _choices(field.annotation)
    return f"| `{key}` | {_default(field)} | {mark} | {doc} |\n"


def _choices(annotation: Any) -> str:
    from ktrain.load.shape import alternatives

    words = [word for it in alternatives(annotation) if get_origin(it) is Literal for word in get_args(it)]
    return f" ({', '.join(f'`{word}`' for word in words)})" if len(words) > 1 else ""


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, Model) or value in ((), {}, []):
        return ""
    text = (
        ", ".join(map(str, value))
        if isinstance(value, tuple)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )
    return f"`{text}`"


def _models(model: type[Model], path: str) -> Iterator[tuple[str, type[Model]]]:
    from ktrain.load.shape import aliases, alternatives

    yield path, model
    for key, annotation in aliases(model).items():
        for inner in alternatives(annotation):
            if isinstance(inner, type) and issubclass(inner, Model):
                yield from _models(inner, f"{path}.{key}" if path else key)


def main() -> None:
    """Writes the pages into the folder that is named."""
    folder = Path(sys.argv[1])
    (folder / "job.md").write_text(job_page(), encoding="utf-8")
    (folder / "lint.md").write_text(lint_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
