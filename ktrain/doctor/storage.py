"""Whether a storage does what checkpoints need of it."""

import time
import uuid
from collections.abc import Iterator

from ktrain.doctor.check import Check, Verdict
from ktrain.storage import Storage

MAX_SKEW_SECONDS = 300.0
"""S3 refuses requests whose clock is further off."""


def probe(storage: Storage) -> Iterator[Check]:
    """Writes, reads and deletes one small object, as a checkpoint would."""
    key, begun = f"doctor-{uuid.uuid4().hex}", time.time()
    storage.create(key, b"ktrain doctor\n")  # outside of try: what failed is told, not that it cannot be deleted either
    try:
        stat = storage.stat(key)
        storage.get(key)
    finally:
        storage.delete([key])
    if stat and abs(stat.modified.timestamp() - begun) > MAX_SKEW_SECONDS:
        yield Check(
            "storage", Verdict.WARN, f"its clock is {stat.modified.timestamp() - begun:+.0f} s off this machine's"
        )
    if storage.is_fenced:
        yield Check(
            "storage", Verdict.OK, f"{storage.url} can be written, read and deleted, and refuses a second writer"
        )
    else:
        yield Check(
            "storage",
            Verdict.WARN,
            f"{storage.url} ignores conditional writes: two writers of one run cannot be told apart",
        )
