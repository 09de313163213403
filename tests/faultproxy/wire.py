"""A socket that reads heads, lines and large pieces of bodies, and is as slow as it is told to be."""

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import Final, Literal, NoReturn

CHUNK: Final = 256 << 10  # few steps of Python for each byte
MAX_HEAD: Final = 64 << 10
_NAP: Final = 0.001  # shorter waits are saved up


class Pace:
    """A token bucket: `take` returns when so many more bytes may pass."""

    def __init__(self, bytes_per_second: float, burst_bytes: int) -> None:
        self._rate, self._burst = bytes_per_second, burst_bytes / bytes_per_second
        self._free_at = 0.0

    async def take(self, size: int) -> None:
        """Waits for the tokens; what was waited too long is given back by the clock, so the average is exact."""
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now - self._burst) + size / self._rate
        if self._free_at - now > _NAP:
            await asyncio.sleep(self._free_at - now)


@dataclass(frozen=True, slots=True)
class Framing:
    """Where a body ends."""

    kind: Literal["length", "chunked", "close"]
    length: int = 0


EMPTY: Final = Framing("length", 0)


class CutError(Exception):
    """So many bytes have passed as were to pass."""


class Wire:
    """One connected socket, its loop's own way of reading and writing it."""

    def __init__(self, sock: socket.socket, pace: Pace | None = None) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock, self._pace, self._loop = sock, pace, asyncio.get_running_loop()
        self._held = bytearray()
        self._view = memoryview(bytearray(CHUNK))

    async def head(self) -> bytes:
        """Up to the empty line and with it; empty when the other side has closed."""
        return await self._until(b"\r\n\r\n")

    async def line(self) -> bytes:
        """With its end."""
        return await self._until(b"\r\n")

    async def some(self, limit: int) -> bytes | memoryview:
        """At least one byte and at most `limit`, empty at the end; valid until the next call."""
        if self._held:
            found = bytes(self._held[:limit])
            del self._held[:limit]
            return found
        size = await self._loop.sock_recv_into(self._sock, self._view[: min(limit, CHUNK)])
        return self._view[:size]

    async def send(self, data: bytes | memoryview) -> None:
        """All of it, at the pace of this link."""
        if self._pace:
            await self._pace.take(len(data))
        await self._loop.sock_sendall(self._sock, data)

    async def drain(self) -> None:
        """Reads until the other side closes."""
        while await self.some(CHUNK):
            pass

    def is_gone(self) -> bool:
        """Whether the other side has closed a connection that is idle."""
        try:
            return self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def half_close(self) -> None:
        """FIN: nothing more comes from here."""
        self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """RST."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """FIN, or RST where something was not read."""
        if self._sock.fileno() >= 0:  # the loop must not watch a number that another socket gets next
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
        self._sock.close()

    async def _until(self, end: bytes) -> bytes:
        while (at := self._held.find(end)) < 0:
            if len(self._held) > MAX_HEAD:
                raise ConnectionError(f"no end of a head within {MAX_HEAD} bytes")
            size = await self._loop.sock_recv_into(self._sock, self._view)
            if not size:
                return b""
            self._held += self._view[:size]
        found = bytes(self._held[: at + len(end)])
        del self._held[: at + len(end)]
        return found


class Pump:
    """Carries one body from a wire to another, or to nowhere; `passed` counts its bytes."""

    def __init__(self, source: Wire, sink: Wire | None, *, limit: int | None = None) -> None:
        self._source, self._sink, self._limit = source, sink, limit
        self.passed = 0

    async def run(self, framing: Framing) -> None:
        """To the end of the body; CutError after `limit` bytes, ConnectionError when it ends too soon."""
        match framing.kind:
            case "length":
                await self._carry(framing.length)
            case "close":
                while await self._carry_some(CHUNK):
                    pass
            case "chunked":
                await self._chunks()

    async def _chunks(self) -> None:
        line, size = b"", 1
        while size:
            line = await self._line()
            size = int(line.partition(b";")[0], 16)
            await self._carry(size + 2 if size else 0)
        while line != b"\r\n":  # trailers
            line = await self._line()

    async def _line(self) -> bytes:
        line = await self._source.line()
        if not line:
            self._ended()
        await self._put(line)
        return line

    async def _carry(self, size: int) -> None:
        while size:
            passed = await self._carry_some(size)
            if not passed:
                self._ended()
            size -= passed

    async def _carry_some(self, limit: int) -> int:
        if self._limit is not None:
            limit = min(limit, self._limit - self.passed)
            if limit <= 0:
                raise CutError
        data = await self._source.some(limit)
        self.passed += len(data)  # before the other side has it, so that a log read then is right
        await self._put(data)
        await asyncio.sleep(0)  # a socket that always has something would keep the others waiting
        return len(data)

    async def _put(self, data: bytes | memoryview) -> None:
        if self._sink and data:
            await self._sink.send(data)

    def _ended(self) -> NoReturn:
        raise ConnectionError("ended in the middle of a body")
