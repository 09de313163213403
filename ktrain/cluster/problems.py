"""What a refusal of the API server means: its status becomes an error that speaks to the reader."""

import json
from collections.abc import Mapping
from typing import Final

from ktrain.errors import BusyError, ClusterError, ExpiredError, ForbiddenError, MissingError, TakenError

MAX_AFTER_SECONDS: Final = 60.0  # whatever it asks for: a broken proxy must not send us away for a day


def problem(status: int, body: bytes, reason: str, headers: Mapping[str, str], *, cluster: str) -> ClusterError:
    """Of an answer with a status of 400 or more."""
    message = _message(body) or reason
    match status:
        case 401:
            return ForbiddenError(
                f"the cluster of context {cluster!r} does not know you: {message}; log in to it again"
            )
        case 403:
            return ForbiddenError(f"the cluster refuses: {message}")
        case 404:
            return MissingError(message)
        case 409:
            return TakenError(message)
        case 410:
            return ExpiredError(f"the cluster no longer remembers that version: {message}; list again")
        case 429 | 503 if "Retry-After" in headers:
            after = _seconds(headers["Retry-After"])
            return BusyError(f"the cluster is busy: {message}; try again in {after:g} s", after=after)
    return ClusterError(f"the cluster answered {status}: {message}")


def _message(body: bytes) -> str:
    text = body.decode(errors="replace").strip()
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text


def _seconds(text: str) -> float:
    """A date is allowed too, but no API server sends one: then a second."""
    return min(float(text), MAX_AFTER_SECONDS) if text.strip().isdecimal() else 1.0
