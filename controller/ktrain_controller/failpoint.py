"""Places where a test can end the controller as a crash would: between any two writes."""

import os
import signal
from enum import StrEnum
from typing import Final

ENV: Final = "KTRAIN_FAILPOINT"


class Point(StrEnum):
    """Each is reached once in the course of its action."""

    BEFORE_INTENT = "before-intent"
    AFTER_INTENT = "after-intent"
    BETWEEN_DELETES = "between-deletes"
    BEFORE_RESIZE = "before-resize"
    AFTER_RESIZE = "after-resize"
    AFTER_DELETES = "after-deletes"
    AFTER_SUSPEND = "after-suspend"
    AFTER_RESUME = "after-resume"
    AFTER_REQUEST = "after-request"
    BEFORE_VERDICT = "before-verdict"
    AFTER_VERDICT = "after-verdict"
    BEFORE_EVENT = "before-event"


def reach(point: Point) -> None:
    """Dies here if the environment says so."""
    if os.environ.get(ENV) == point:
        os.kill(os.getpid(), signal.SIGKILL)
