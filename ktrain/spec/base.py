"""What every part of the job file has in common: strict, frozen, camelCase, each key marked for resume."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Mark = Literal["free", "warn", "refuse"]
"""What a resume does when this key's value has changed: go on, say so and go on, or refuse."""


class Model(BaseModel):
    """Base of all parts of the job file."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        allow_inf_nan=False,
        regex_engine="rust-regex",  # linear time: a job file cannot hang its own check
    )


def setting(default: Any = ..., *, resume: Mark, doc: str, **rest: Any) -> Any:
    """A key of the job file: its default, what a change means for resume, and its one-line documentation."""
    if isinstance(default, (list, dict)):
        value = default
        return Field(
            default_factory=lambda: value.copy(), description=doc, json_schema_extra={"x-resume": resume}, **rest
        )
    return Field(default, description=doc, json_schema_extra={"x-resume": resume}, **rest)
