"""One S3 request, tried until it is answered, refused or out of time; a write whose reply was lost is looked up."""

import logging
import re
from collections.abc import Callable
from typing import Final, TypeVar

from ktrain.errors import Conflict, ShortRead, StorageError
from ktrain.storage import s3errors
from ktrain.storage.retry import Retry

_FIRST_CONTACT_SECONDS: Final = 15.0  # a server that was never reached is a wrong address, not an outage
_RACES: Final = 5
_LOG: Final = logging.getLogger(__name__)
T = TypeVar("T")


class Requests:
    """Sends requests to one endpoint; `errors` are the exceptions of its client."""

    def __init__(self, endpoint: str, errors: tuple[type[Exception], ...], retry: Retry) -> None:
        self._endpoint, self._errors, self._retry = _without_login(endpoint), errors, retry
        self._was_reached = False

    def call(
        self,
        verb: str,
        where: str,
        request: Callable[[], T],
        *,
        recover: Callable[[], T | None] | None = None,
        first: Callable[[], T] | None = None,
    ) -> T:
        """The answer. `recover` finds out whether a write that ended in doubt was applied, and gives its answer then.

        `first` is another way to send the same request; when it fails, its outcome is in doubt.
        """
        in_doubt = False
        if first:
            try:
                return first()
            except Exception as error:  # noqa: BLE001  -- what it means is for the request below to find out
                _LOG.debug("cannot %s %s by the native client, trying again: %s", verb, where, type(error).__name__)
                in_doubt = True
        pauses = self._retry.pauses()
        began = self._retry.now()
        races = 0
        while True:
            try:
                answer = request()
            except self._errors as error:
                failure = error
            else:
                self._was_reached = True
                return answer
            is_race = s3errors.is_race(failure)
            races += is_race
            in_doubt |= is_race or (s3errors.is_again(failure) and s3errors.is_in_doubt(failure))
            may_repeat = races <= _RACES if is_race else self._may_repeat(failure, began)
            if may_repeat and (pause := next(pauses, None)) is not None:
                self._retry.sleep(pause)
                continue
            if in_doubt and recover and (found := recover()) is not None:
                return found
            raise self._explain(failure, verb, where) from failure

    def _may_repeat(self, failure: Exception, began: float) -> bool:
        if not s3errors.is_again(failure):
            return False
        is_wrong_address = s3errors.is_never_reached(failure) and not self._was_reached
        return not is_wrong_address or self._retry.now() - began < _FIRST_CONTACT_SECONDS

    def _explain(self, failure: Exception, verb: str, where: str) -> StorageError:
        if s3errors.is_lost(failure) or s3errors.is_race(failure):
            return Conflict(f"{where}: {'exists already' if verb == 'create' else 'changed by another writer'}")
        if s3errors.is_short(failure):
            return ShortRead(f"{where}: ends before the bytes that were asked for")
        return s3errors.explain(failure, verb, where, self._endpoint)


def _without_login(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)
