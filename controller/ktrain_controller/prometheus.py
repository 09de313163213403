"""One number from a Prometheus, or the reason why there is none."""

import json
import math
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import msgspec

from ktrain.errors import SpecError, UnreachableError
from ktrain_controller import web

TIMEOUT_SECONDS: Final = 5.0
MAX_BYTES: Final = 1 << 20
MAX_SKEW: Final = 60.0
"""An answer that was made longer ago, or is that much ahead of us, comes from a cache or by a wrong clock."""

_MAX_TOLD: Final = 200
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Answer:
    """A finite number, or None and a sentence; nothing is ever made up, so that no answer means: hold."""

    value: float | None = None
    why: str = ""


class _Data(msgspec.Struct):
    resultType: str  # noqa: N815  -- Prometheus's name
    result: msgspec.Raw


class _Reply(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""
    warnings: list[str] | None = None


class _Series(msgspec.Struct):
    value: tuple[float, str] | None = None  # a histogram has none


class Prometheus:
    """A server that is asked for one value at a time."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT_SECONDS, max_bytes: int = MAX_BYTES) -> None:
        self._address, self._path = _parse(url)
        self._told = url
        self._timeout, self._max_bytes = timeout, max_bytes

    def ask(self, query: str, now: float, *, max_age: float | None = None) -> Answer:
        """The query's one value at the server's present; `now` is ours, to notice answers that are from another time.

        The timeout is for each request, of which there are two with `max_age`.

        An instant query looks back for five minutes. With `max_age` (three scrape intervals, say) older samples do
        not count, in two ways: the query is sent with that `lookback_delta`, which Prometheus obeys since 3.0 (2.42
        ignores it), and `timestamp((query))` is asked as well. The latter tells the sample's age only where the query
        is a plain selector, such as `ktrain:wanted{job="x"}`: for `sum(x)`, `x * 2` or `max_over_time(x[1m])`
        Prometheus returns the time of evaluation. A recording rule makes a selector of anything, but with fresh
        samples as long as its input is in the look-back.
        """
        try:
            kind, _, value = self._number(query, now, max_age)
            if max_age is not None and kind == "vector":
                self._check_age(query, now, max_age)
        except UnreachableError as error:
            return Answer(why=f"Prometheus at {self._told}: {error}")
        return Answer(value)

    def _check_age(self, query: str, now: float, max_age: float) -> None:
        try:
            _, at, sampled = self._number(f"timestamp((\n{query}\n))", now, max_age)  # it may end with a comment
        except UnreachableError as error:
            raise UnreachableError(f"the value's age is not known: {error}") from None
        if at - sampled > max_age:  # both by the server's clock
            raise UnreachableError(f"the value is stale, {at - sampled:.0f} s old, and {max_age:g} s are allowed")

    def _number(self, query: str, now: float, max_age: float | None) -> tuple[str, float, float]:
        """(the result's type, when it was made, its value); UnreachableError for everything else."""
        data = _data(self._page(query, max_age))
        at, value = _sample(data)
        if abs(now - at) > MAX_SKEW:
            raise UnreachableError(f"the answer was made {now - at:+.0f} s ago by our clock: a cache, or a wrong clock")
        if not math.isfinite(value):
            raise UnreachableError(f"the value is {value}, no finite number")
        return data.resultType, at, value

    def _page(self, query: str, max_age: float | None) -> web.Page:
        fields = {"query": query, "timeout": f"{self._timeout:.3f}"}
        if max_age is not None:
            fields["lookback_delta"] = f"{max_age:.3f}"
        path = f"{self._path}/api/v1/query?{urlencode(fields)}"
        page = web.get(self._address, path, seconds=self._timeout, max_bytes=self._max_bytes)
        if 300 <= page.status < 400:
            raise UnreachableError(f"it redirects to {page.location[:_MAX_TOLD]}, which is not followed; name that one")
        if page.status >= 400:
            raise UnreachableError(f"HTTP {page.status}{_told(page)}")
        return page


def _parse(url: str) -> tuple[web.Address, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SpecError(f"{url!r} is no address of a Prometheus: {error}") from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.query or parts.fragment:
        raise SpecError(f"{url!r} is no address of a Prometheus; write http(s)://host[:port][/prefix]")
    if parts.username is not None or parts.password is not None:
        raise SpecError("the address of a Prometheus must not have a user or a password in it: it is logged")
    address = web.Address(parts.hostname, port or _PORTS[parts.scheme], is_tls=parts.scheme == "https")
    return address, parts.path.rstrip("/")


def _data(page: web.Page) -> _Data:
    if page.kind != "application/json":
        raise UnreachableError(f"the answer is {page.kind}, not JSON; is that a Prometheus?")
    reply = _decode(page.body, _Reply)
    assert isinstance(reply, _Reply)
    if reply.status != "success" or reply.data is None:
        raise UnreachableError(f"the query failed: {reply.error[:_MAX_TOLD] or 'it does not say why'}")
    if reply.warnings:
        raise UnreachableError(f"it warns, so the answer may be of a part only: {reply.warnings[0][:_MAX_TOLD]}")
    return reply.data


def _sample(data: _Data) -> tuple[float, float]:
    """(when, what)."""
    if data.resultType == "scalar":
        at, text = _decode(data.result, tuple[float, str])
    elif data.resultType == "vector":
        series = _decode(data.result, list[_Series])
        if len(series) != 1:
            what = f"{len(series)} series; aggregate them to one" if series else "no series"
            raise UnreachableError(f"the query has {what}")
        if series[0].value is None:
            raise UnreachableError("the value is a histogram, no number")
        at, text = series[0].value
    else:
        raise UnreachableError(f"the query gives a {data.resultType[:20]}, not one value")
    try:
        return at, float(text)
    except ValueError:
        raise UnreachableError(f"the value is {text[:20]!r}, no number") from None


def _decode(data: bytes | msgspec.Raw, kind: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UnreachableError(f"the answer is not what a Prometheus says: {str(error)[:_MAX_TOLD]}") from None


def _told(page: web.Page) -> str:
    """Why, in its own words, if they are words."""
    try:
        error = json.loads(page.body)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f": {error[:_MAX_TOLD]}" if isinstance(error, str) else ""
