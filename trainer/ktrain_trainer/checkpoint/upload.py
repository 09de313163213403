"""Many objects at once, until all are durable, one has failed, or a peer or the clock says that it is in vain."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

from ktrain_trainer.checkpoint.staging import Staged

T = TypeVar("T")
_LISTEN_SECONDS: Final = 0.5


def upload(
    staged: Sequence[Staged],
    write: Callable[[Staged], T],
    *,
    at_once: int,
    listen: Callable[[], None],
    on_quiet: Callable[[], None],
) -> list[T]:
    """What `write` returned for each, in order; raises what the first failure raised.

    `listen` is called now and then, and raises when the rest is in vain: then writes that hang are left to themselves.
    `on_quiet` is called once when none of them reads its bytes any more.
    """
    if not staged:
        on_quiet()
        return []
    pool = ThreadPoolExecutor(min(at_once, len(staged)), "ktrain-upload")
    writes = [pool.submit(write, item) for item in staged]
    pool.shutdown(wait=False)
    _when_all_are_done(writes, on_quiet)
    try:
        while wait(writes, _LISTEN_SECONDS, FIRST_EXCEPTION).not_done and not any(map(_failed, writes)):
            listen()
        if failed := next(filter(_failed, writes), None):
            failed.result()
        return [it.result() for it in writes]
    finally:
        for it in writes:
            it.cancel()


def _failed(write: "Future[T]") -> bool:
    return write.done() and not write.cancelled() and write.exception() is not None


def _when_all_are_done(writes: "Sequence[Future[T]]", act: Callable[[], None]) -> None:
    lock, left = threading.Lock(), len(writes)

    def done(_: "Future[T]") -> None:
        nonlocal left
        with lock:
            left -= 1
            is_last = not left
        if is_last:
            act()

    for write in writes:
        write.add_done_callback(done)
