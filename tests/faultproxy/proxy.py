"""The proxy: carries HTTP requests to a server and replies back, and lets rules say what goes wrong with which."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from urllib.parse import unquote

from tests.faultproxy.roles import role_of
from tests.faultproxy.rules import Fault, Rule, Seen, Shape
from tests.faultproxy.wire import EMPTY, CutError, Framing, Pace, Pump, Wire

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_REST_SECONDS: Final = 0.05  # a body that was taken ends with its reply; another one never does
_LINGER_SECONDS: Final = 2.0  # for what a refused client still sends: closing at once would destroy the reply


@dataclass
class _Exchange:
    """One request on its way."""

    number: int
    method: str
    key: str
    query: str
    head: bytes
    body: Framing
    expects_continue: bool
    fault: Fault | None = None
    status: int = 0
    server_status: int = 0
    taken: Pump | None = None  # the request's body
    given: Pump | None = None  # the reply's
    told: int = 0  # bytes of an answer of ours

    @property
    def role(self) -> str:
        return role_of(self.method, self.key, self.query)

    def seen(self) -> Seen:
        kind = f"{self.fault.kind} at {self.fault.at}" if self.fault else ""
        taken, given = (pump.passed if pump else 0 for pump in (self.taken, self.given))
        return Seen(
            self.number, self.method, self.role, self.key, self.query, self.status, taken, given + self.told, kind,
            self.server_status,
        )  # fmt: skip


class _HangUpError(Exception):
    """This connection is over, as a fault wants it."""


@dataclass
class Proxy:
    """Serves connections in one event loop; rules may be exchanged at any time, which begins to count anew."""

    upstream: tuple[str, int]
    shape: Shape = field(default_factory=Shape)
    on_stop: Callable[[], None] = lambda: None
    is_stopped: bool = False
    _rules: Sequence[Rule] = ()
    _taken: Counter[int] = field(default_factory=Counter)
    _arrived: list[_Exchange] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def log(self) -> list[Seen]:
        """The requests that came, in their order; of those on their way what is known by now."""
        return [it.seen() for it in list(self._arrived)]

    def obey(self, rules: Sequence[Rule]) -> None:
        """Begins anew: follows these rules, forgets what came, and lets everything pass again."""
        self._arrived.clear()
        self._taken.clear()
        self._rules, self.is_stopped = tuple(rules), False

    async def serve(self, listener: socket.socket) -> None:
        """Takes connections until it is cancelled."""
        listener.setblocking(False)
        try:
            while True:
                sock, _ = await asyncio.get_running_loop().sock_accept(listener)
                task = asyncio.create_task(self._connection(sock))
                self._tasks.add(task)
                task.add_done_callback(partial(self._end, sock))
        finally:
            self._cut()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _end(self, sock: socket.socket, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        sock.close()  # of a task that was cancelled before it began

    async def _connection(self, sock: socket.socket) -> None:
        client, server = self._wire(sock), None
        try:
            while not self.is_stopped and (head := await client.head()):
                it = self._arrive(head)
                if server is None or server.is_gone():
                    server = await self._connect(server)
                if not await self._exchange(it, client, server):
                    break
        except (OSError, _HangUpError):
            pass
        finally:
            if server:
                server.close()
            client.reset() if self.is_stopped else client.close()

    def _wire(self, sock: socket.socket) -> Wire:
        rate = self.shape.bytes_per_second
        return Wire(sock, Pace(rate, self.shape.burst_bytes) if rate else None)

    async def _connect(self, old: Wire | None) -> Wire:
        if old:
            old.close()
        sock = socket.socket()
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, self.upstream)
        except BaseException:  # cancelled too: a stop cuts connections that are being made
            sock.close()
            raise
        return self._wire(sock)

    def _arrive(self, head: bytes) -> _Exchange:
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        path, _, query = target.partition("?")
        fields = _fields(head)
        made = _Exchange(
            len(self._arrived), method, unquote(path).lstrip("/"), query, head, _framing(fields),
            fields.get("expect", "").lower() == "100-continue",
        )  # fmt: skip
        self._arrived.append(made)
        made.fault = self._fault(made)
        return made

    def _fault(self, it: _Exchange) -> Fault | None:
        for number, rule in enumerate(self._rules):
            if rule.matches(it.method, it.role, it.key):
                self._taken[number] += 1
                if rule.takes(self._taken[number] - 1):
                    return rule.fault
        return None

    async def _exchange(self, it: _Exchange, client: Wire, server: Wire) -> bool:
        """Whether the connection can take another request."""
        if it.fault and it.fault.at == "head":
            await self._act(it, it.fault, client)
        if it.fault and it.fault.at == "body":
            await self._swallow(it, it.fault, client, server)
            await self._act(it, it.fault, client)
        return await self._pass(it, client, server)

    async def _pass(self, it: _Exchange, client: Wire, server: Wire) -> bool:
        await server.send(it.head)
        it.taken = Pump(client, server)
        sending = asyncio.create_task(it.taken.run(it.body))
        try:
            keeps = await self._reply(it, client, server)
            # A server may refuse before it has read all; then the rest of the body has nowhere to go.
            return keeps and await _ends(sending)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _reply(self, it: _Exchange, client: Wire, server: Wire) -> bool:
        while True:
            head = await server.head()
            if not head:
                raise ConnectionError("the server closed instead of answering")
            status = int(head[9:12])
            if status >= 200:
                break
            await client.send(head)
        body = EMPTY if it.method == "HEAD" or status in {204, 304} else _framing(_fields(head), is_reply=True)
        it.server_status = status
        if self.shape.first_byte_seconds:
            await asyncio.sleep(self.shape.first_byte_seconds)
        limit = await self._meddle(it, client, server, body)
        it.status = status
        await client.send(head)
        it.given = Pump(server, client, limit=limit)
        with suppress(CutError):
            await it.given.run(body)
        if it.fault and limit is not None:
            await self._act(it, it.fault, client)
        return body.kind != "close" and _fields(head).get("connection", "").lower() != "close"

    async def _meddle(self, it: _Exchange, client: Wire, server: Wire, body: Framing) -> int | None:
        """What a fault at the reply does before its first byte; returns how much of the reply may pass."""
        if it.fault is None or it.fault.at != "reply":
            return None
        if it.fault.after_bytes:
            return it.fault.after_bytes
        await Pump(server, None).run(body)
        await self._act(it, it.fault, client)
        raise AssertionError("a fault without bytes ends the exchange")

    async def _swallow(self, it: _Exchange, fault: Fault, client: Wire, server: Wire) -> None:
        if it.expects_continue:
            await client.send(_CONTINUE)
        passes = fault.after_bytes > 0
        if passes:
            await server.send(it.head)
        it.taken = Pump(client, server if passes else None, limit=fault.after_bytes or None)
        with suppress(CutError):
            await it.taken.run(it.body)

    async def _act(self, it: _Exchange, fault: Fault, client: Wire) -> None:
        """Does it; only a delay returns."""
        match fault.kind:
            case "delay":
                await asyncio.sleep(fault.seconds or 0)
                return
            case "answer":
                await self._answer(it, fault, client)
            case "reset":
                client.reset()
            case "half close":
                client.half_close()
                await client.drain()
            case "black hole":
                with suppress(TimeoutError):
                    await asyncio.wait_for(client.drain(), fault.seconds)
                client.reset()
            case "stop":
                self._stop()
        raise _HangUpError

    async def _answer(self, it: _Exchange, fault: Fault, client: Wire) -> None:
        text = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{fault.code}</Code>'
            f"<Message>as the test wants it</Message><RequestId>{it.number}</RequestId></Error>"
        )
        head = f"HTTP/1.1 {fault.status} {fault.code}\r\nContent-Type: application/xml\r\nConnection: close\r\n"
        head += f"Content-Length: {len(text)}\r\n\r\n"
        it.status, it.told = fault.status, 0 if it.method == "HEAD" else len(text)
        await client.send((head + ("" if it.method == "HEAD" else text)).encode())
        client.half_close()
        with suppress(TimeoutError):
            await asyncio.wait_for(client.drain(), _LINGER_SECONDS)

    def _stop(self) -> None:
        self.is_stopped = True
        self.on_stop()
        self._cut()

    def _cut(self) -> None:
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()


def _fields(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


def _framing(fields: dict[str, str], *, is_reply: bool = False) -> Framing:
    if "chunked" in fields.get("transfer-encoding", "").lower():
        return Framing("chunked")
    if "content-length" in fields:
        return Framing("length", int(fields["content-length"]))
    return Framing("close") if is_reply else EMPTY


async def _ends(sending: asyncio.Task[None]) -> bool:
    done, _ = await asyncio.wait({sending}, timeout=_REST_SECONDS)
    return bool(done) and sending.exception() is None
