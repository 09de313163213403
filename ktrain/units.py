"""Quantities with their unit in the text: `30s`, `8Gi`, `10ep`, `500step`, `1e9tok`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, PlainSerializer, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

_NUMBER: Final = r"(?P<number>\d+(?:\.\d+)?(?:[eE][+]?\d+)?)"
_TIME: Final = re.compile(_NUMBER + r"(?P<unit>ms|s|min|m|h|d)")
_SPAN: Final = re.compile(_NUMBER + r"(?P<unit>epochs?|ep|steps?|samples?|tokens?|tok|ms|s|min|m|h|d)")
_BYTES: Final = re.compile(_NUMBER + r"(?P<unit>[KMGTPE]i?|k|)(?:B)?")
_SECONDS: Final = {"ms": "0.001", "s": "1", "m": "60", "min": "60", "h": "3600", "d": "86400"}
_BYTE_UNITS: Final = {"": 1, "k": 1000} | {
    unit + suffix: base ** (power + 1)
    for power, unit in enumerate("KMGTPE")
    for suffix, base in (("", 1000), ("i", 1024))
}
_EXAMPLES: Final = "10ep, 500step, 2e6sample, 1e9tok"
_OR_TIME: Final = ", or a time such as 30min"
_MAX_SECONDS: Final = 100 * 365 * 86400

Unit = Literal["ep", "step", "sample", "tok", "s"]
_CANONICAL: Final[dict[str, Unit]] = {
    "ep": "ep", "epoch": "ep", "epochs": "ep",
    "step": "step", "steps": "step",
    "sample": "sample", "samples": "sample",
    "tok": "tok", "token": "tok", "tokens": "tok",
}  # fmt: skip


def parse_time(value: object) -> timedelta:
    """`30s`, `500ms`, `10m` or `10min`, `2h`, `7d` as a timedelta; raises ValueError."""
    if isinstance(value, timedelta):
        return value
    match = _TIME.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= 40 else None
    if match is None:
        raise ValueError(f"{value!r} is no length of time; write a number and a unit, such as 30s, 10m, 2h or 7d")
    seconds = Decimal(match["number"]) * Decimal(_SECONDS[match["unit"]])
    if seconds > _MAX_SECONDS:
        raise ValueError(f"{value!r} is more than a hundred years")
    return timedelta(microseconds=int(seconds * 1_000_000))


def format_time(value: timedelta) -> str:
    """The shortest text that `parse_time` reads back as the same length of time."""
    millis = value // timedelta(milliseconds=1)
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if millis and millis % size == 0:
            return f"{millis // size}{unit}"
    return f"{millis}ms" if millis else "0s"


Time = Annotated[
    timedelta,
    BeforeValidator(parse_time),
    PlainSerializer(format_time, return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": rf"^{_TIME.pattern.replace('?P<number>', '?:').replace('?P<unit>', '?:')}$"}
    ),
]


def parse_bytes(value: object) -> int:
    """`8Gi`, `512Mi`, `1e9` or a plain number of bytes as an int; raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _BYTES.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= 40 else None
    if match is None:
        raise ValueError(f"{value!r} is no number of bytes; write for example 512Mi or 8Gi")
    return int(Decimal(match["number"]) * _BYTE_UNITS[match["unit"]])


def format_bytes(size_bytes: float) -> str:
    """For people: `1.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < 1024 or unit == "GiB":
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    raise AssertionError


Bytes = Annotated[
    int,
    BeforeValidator(parse_bytes),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^\d+(\.\d+)?(e\d+)?[KMGTPEk]?i?B?$"},
            ]
        }
    ),
]


@dataclass(frozen=True, slots=True)
class Span:
    """A length of training: `10ep`, `500step`, `2e6sample`, `1e9tok`, or of time (`20min`; unit `s`)."""

    value: float
    unit: Unit

    @classmethod
    def parse(cls, value: object) -> Self:
        """Reads `10ep`, `500step`, `2e6sample`, `1e9tok`, `30min`; raises ValueError."""
        if isinstance(value, cls):
            return value
        match = _SPAN.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= 40 else None
        if match is None:
            raise ValueError(f"{value!r} is no length of training; write a number and a unit: {_EXAMPLES}{_OR_TIME}")
        if match["unit"] in _SECONDS:
            return cls(parse_time(value).total_seconds(), "s")
        number = Decimal(match["number"])
        unit = _CANONICAL[match["unit"]]
        if unit != "ep" and number != int(number):
            raise ValueError(f"{value!r}: {unit} must be a whole number")
        if number > 2**62:
            raise ValueError(f"{value!r} is larger than any run")
        return cls(float(number) if unit == "ep" else int(number), unit)

    @classmethod
    def parse_length(cls, value: object) -> Self:
        """One that is counted and not timed."""
        try:
            span = cls.parse(value)
        except ValueError as error:
            raise ValueError(str(error).removesuffix(_OR_TIME)) from None
        if span.unit == "s":
            raise ValueError(f"{span} is a time; write ep, step, sample or tok (spec.deadline ends a job by the clock)")
        return span

    def __str__(self) -> str:
        if self.unit == "s":
            return format_time(timedelta(seconds=self.value))
        return f"{self.value:g}ep" if self.unit == "ep" else f"{int(self.value)}{self.unit}"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema()),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        pattern = _SPAN.pattern.replace("?P<number>", "?:").replace("?P<unit>", "?:")
        return {"type": "string", "pattern": f"^{pattern}$", "examples": ["10ep", "500step", "1e9tok"]}


def counted(number: int, one: str) -> str:
    """`1 file`, `2 files`, `3 batches`."""
    many = one + ("es" if one.endswith("ch") else "s")
    return f"{number:,} {one if number == 1 else many}"


def count_gpus(resources: Mapping[str, object]) -> int:
    """Of one container or pod, whoever makes them; an amount that is no whole number counts for nothing."""
    return sum(int(str(it)) for name, it in resources.items() if name.endswith("/gpu") and str(it).isdigit())
