"""Where the benchmark's cluster is: apart from the one of the tests. To be imported before anything of hack.cluster."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

PLACE: Final = {"KTRAIN_CLUSTER_RUN": "/run/ktrain-benchmark", "KTRAIN_CLUSTER_PREFIX": "ktb"}

os.environ |= {name: os.environ.get(name) or value for name, value in PLACE.items()}


@contextmanager
def taken_down(name: str, down: Callable[[], object]) -> Iterator[None]:
    """However it ends: also when somebody ends us, or, with a sentence, when something is missing here."""
    from hack.cluster.shell import NeedError

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"{name}: was told to end"))
    try:
        yield
    except NeedError as error:
        raise SystemExit(f"{name}: {error}") from error
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # whoever is impatient by now would leave half of it
        down()
