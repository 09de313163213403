"""Serves node 0's table to the other launchers: a line of JSON asks, a line of JSON answers.

No secret guards it, as none guards torch's stores: a network policy keeps strangers away.
"""

import asyncio
import json
import socket
import threading
from typing import Final

from ktrain.errors import SpecError
from ktrain_launcher import wires
from ktrain_launcher.table import Table

GREETING: Final = b"ktrain launcher, words 2\n"
"""The first line of each connection: who it is, and the version of its words."""

MAX_LINE: Final = 1 << 20
_WORDS: Final = ("get", "put", "put_first", "swap", "add")


class TableServer:
    """Listens from the moment that it is made; one thread for all connections."""

    def __init__(self, table: Table, bind: str, port: int) -> None:
        """Port 0 takes a free one; SpecError when it cannot be bound."""
        self._table = table
        self._listener = _listen(bind, port)
        self.port: int = self._listener.getsockname()[1]
        self._closed = asyncio.Event()
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="table", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends all connections; a launcher that ends at once need not."""
        self._loop.call_soon_threadsafe(self._closed.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._listen_until_closed())

    async def _listen_until_closed(self) -> None:
        server = await asyncio.start_server(self._accept, sock=self._listener, limit=MAX_LINE, backlog=wires.BACKLOG)
        await self._closed.wait()
        self._loop.remove_reader(self._listener)  # a server that is closed loses whom it has just accepted
        await asyncio.gather(*self._coming())
        server.close()
        for writer in self._open.values():
            writer.transport.abort()  # not left to its task, which may not have begun

    def _coming(self) -> set[asyncio.Task[None]]:
        """Connections that were accepted, and are not yet served."""
        return {it for it in asyncio.all_tasks() if it is not asyncio.current_task()} - self._open.keys()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(reader, writer))
        self._open[task] = writer
        task.add_done_callback(self._open.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wires.guard(writer.get_extra_info("socket"))
        wills: dict[str, str] = {}
        try:
            writer.write(GREETING)
            while line := await reader.readline():
                writer.write(_answer(self._table, wills, line))
                await writer.drain()
        except (OSError, ValueError, TypeError, KeyError):
            pass  # they have gone, or are no launcher: the connection is all that ends
        finally:
            for key, value in wills.items():
                self._table.put(key, value)
            writer.close()


def _answer(table: Table, wills: dict[str, str], line: bytes) -> bytes:
    """ValueError, TypeError or KeyError for what no launcher would ask."""
    word, *args = json.loads(line)
    if not all(isinstance(it, str | int) for it in args):
        raise ValueError(word)
    if word == "will":
        key, value = args
        wills[key] = value
        return b"null\n"
    if word not in _WORDS:
        raise ValueError(word)
    return json.dumps(getattr(table, word)(*args)).encode() + b"\n"


def _listen(bind: str, port: int) -> socket.socket:
    try:
        return wires.listen(bind, port)
    except OSError as error:
        raise SpecError(
            f"port {port} for the launchers' rendezvous cannot be bound ({error.strerror}); "
            "end the process that has it, or set KTRAIN_RDZV_PORT to a free one"
        ) from error
