"""What the trainer's sections have in common: imported objects, lengths, names of metrics."""

from typing import Annotated, Any

from pydantic import BeforeValidator, StringConstraints

from ktrain.spec import forms
from ktrain.spec.base import Model, setting
from ktrain.units import Span

Target = Annotated[str, StringConstraints(pattern=forms.TARGET.pattern, max_length=500)]
ShortName = Annotated[str, StringConstraints(pattern=forms.SHORT_NAME.pattern, max_length=100)]


def _no_test(monitor: object) -> object:
    if isinstance(monitor, str) and monitor.startswith("test/"):
        raise ValueError(
            f"{monitor} is measured on test data, and what decides when to stop or what to keep is no test any more; "
            f"watch val/{monitor.removeprefix('test/')}"
        )
    return monitor


Monitor = Annotated[str, StringConstraints(pattern=forms.MONITOR.pattern, max_length=200), BeforeValidator(_no_test)]
Args = dict[str, Any]
Length = Annotated[Span, BeforeValidator(Span.parse_length)]


def positive(span: Span) -> Span:
    """The span itself; ValueError when it is zero or less."""
    if span.value <= 0:
        raise ValueError(f"{span} must be more than nothing")
    return span


class Use(Model):
    """An object of the user's: what to import, and with which arguments to call it."""

    use: Target = setting(resume="refuse", doc="package.module:attribute")
    args: Args = setting({}, resume="refuse", doc="keyword arguments")
