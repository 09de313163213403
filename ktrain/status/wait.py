"""Waits for the end of a job, and says what keeps it from starting."""

import time
from collections.abc import Callable
from typing import Final

from ktrain.cluster import Cluster
from ktrain.errors import TimedOutError, UnreachableError
from ktrain.status.observe import observe
from ktrain.status.why import State, state

LOOK_SECONDS: Final = 2.0
ENDED: Final = frozenset({"succeeded", "failed", "cancelled"})


def wait_for_end(cluster: Cluster, namespace: str, name: str, *, timeout: float, say: Callable[[str], object]) -> State:
    """Its last state; each change is said. TimedOutError; an API server that is away for a moment is waited for."""
    end, told = time.monotonic() + timeout, ""
    while time.monotonic() < end:
        try:
            now = state(observe(cluster, namespace, name))
            if now.what in ENDED:
                return now
            text = f"{now.what}: {now.why}" if now.why else now.what
        except UnreachableError as error:
            text = str(error)
        if text != told:
            say(f"{name}: {text}")
            told = text
        time.sleep(LOOK_SECONDS)
    raise TimedOutError(
        f"job {name} has not ended within {timeout:g} s; it goes on, and `ktrain status {name} -n {namespace}` tells of it"
    )
