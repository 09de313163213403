"""The proxy beside a test: a thread with a loop of its own."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from tests.faultproxy.proxy import Proxy
from tests.faultproxy.rules import Rule, Seen, Shape


class RunningProxy:
    """A proxy that another thread runs."""

    def __init__(self, proxy: Proxy, loop: asyncio.AbstractEventLoop, port: int) -> None:
        self._proxy, self._loop, self.port = proxy, loop, port

    @property
    def endpoint(self) -> str:
        """For S3 clients."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> tuple[Seen, ...]:
        """The requests that came, in their order."""
        return tuple(self._proxy.log)

    @property
    def is_stopped(self) -> bool:
        """Whether nothing passes any more."""
        return self._proxy.is_stopped

    def obey(self, *rules: Rule) -> None:
        """Begins anew: follows these rules, forgets what came, and lets everything pass again."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(self._obey, rules, done)
        done.wait()

    def _obey(self, rules: Sequence[Rule], done: threading.Event) -> None:
        self._proxy.obey(rules)
        done.set()


@contextmanager
def fault_proxy(
    upstream: tuple[str, int],
    *,
    rules: Sequence[Rule] = (),
    shape: Shape | None = None,
    on_stop: Callable[[], None] = lambda: None,
) -> Iterator[RunningProxy]:
    """A proxy on a port of its own, for as long as the block lasts."""
    proxy = Proxy(upstream, shape or Shape(), on_stop)
    proxy.obey(rules)
    loop = asyncio.new_event_loop()
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        serving = loop.create_task(proxy.serve(listener))
        thread = threading.Thread(target=_run, args=(loop, serving), name="faultproxy", daemon=True)
        thread.start()
        try:
            yield RunningProxy(proxy, loop, listener.getsockname()[1])
        finally:
            loop.call_soon_threadsafe(serving.cancel)
            thread.join()
            loop.close()


def _run(loop: asyncio.AbstractEventLoop, serving: asyncio.Task[None]) -> None:
    with suppress(asyncio.CancelledError):
        loop.run_until_complete(serving)
