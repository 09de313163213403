"""One page by HTTP from a server that may be anything: within a time, a size, and never from the cloud's own."""

import http.client
import io
import socket
import ssl
import time
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from ktrain.errors import UnreachableError

_METADATA: Final = frozenset({"fd00:ec2::254", "fd20:ce::254", "100.100.100.200"})  # those that are not link-local
_HEADERS: Final = {"Accept": "application/json", "User-Agent": "ktrain-controller", "Connection": "close"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int
    is_tls: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """What it answered, whatever the status. A redirect is an answer, and is not followed."""

    status: int
    kind: str  # of content
    body: bytes
    location: str = ""


def get(address: Address, path: str, *, seconds: float, max_bytes: int) -> Page:
    """The page; UnreachableError, with a reason that fits after a colon, for all that can go wrong on the way.

    The seconds are for everything after the name was looked up, so a server that sends a byte now and then gains
    nothing; a body that is larger is given up, not read.
    """
    ends = time.monotonic() + seconds
    connection = _Connection(address, ends)
    try:
        connection.request("GET", path, headers=_HEADERS)
        response = connection.getresponse()
        return Page(
            response.status,
            response.headers.get_content_type(),
            _body(response, max_bytes),
            response.headers.get("Location", ""),
        )
    except TimeoutError:
        raise UnreachableError(f"no whole answer within {seconds:g} s") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnreachableError(_reason(error)) from error
    finally:
        connection.hang_up()


def _body(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    body = response.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise UnreachableError(f"the answer has more than {max_bytes} bytes")
    if response.length:  # http.client says so only when it is asked for everything
        raise UnreachableError(f"the answer breaks off {response.length} bytes before its end")
    return body


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(f"{type(error).__name__} {error}".split())[:200]


class _Connection(http.client.HTTPConnection):
    """http.client's timeout begins anew with every byte; this one's does not."""

    def __init__(self, address: Address, ends: float) -> None:
        super().__init__(address.host, address.port)
        self._address, self._ends = address, ends
        self._made: socket.socket | None = None

    def hang_up(self) -> None:
        """`close` is called by http.client itself, before the answer of a server that ends connections is read."""
        if self._made:
            self._made.close()

    def connect(self) -> None:
        """To the first of the host's addresses that answers."""
        plain = self._made = _connect(self._address, self._ends)
        try:
            made = self._made = _secure(plain, self._address.host, self._ends) if self._address.is_tls else plain
        except BaseException:
            plain.close()
            raise
        self.sock: Any = _Timed(made, self._ends)


def _connect(address: Address, ends: float) -> socket.socket:
    problem = OSError(f"no address for {address.host}")
    for family, kind, protocol, _, where in socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
        _refuse_metadata(str(where[0]))
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(_left(ends))
            made.connect(where)
        except OSError as error:
            made.close()
            problem = error
        else:
            return made
    raise problem


def _refuse_metadata(host: str) -> None:
    """The address that was looked up, not the name: a name can point anywhere, and elsewhere the next time."""
    at = ip_address(host.partition("%")[0])
    at = getattr(at, "ipv4_mapped", None) or at
    if at.is_link_local or str(at) in _METADATA:
        raise UnreachableError(f"{host} is an address of the cloud's or the node's own, which is never asked")


def _secure(plain: socket.socket, host: str, ends: float) -> socket.socket:
    plain.settimeout(_left(ends))
    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


def _left(ends: float) -> float:
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Timed:
    """A socket as far as http.client knows one, each of whose waits ends by the same moment."""

    def __init__(self, made: socket.socket, ends: float) -> None:
        self._made, self._ends = made, ends

    def sendall(self, data: bytes) -> None:
        """All of it, by then."""
        self._made.settimeout(_left(self._ends))
        self._made.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """To read the answer from."""
        assert mode == "rb", mode
        return io.BufferedReader(_Reader(self._made, self._ends))

    def close(self) -> None:
        """The connection's; the answer may still have to be read."""


class _Reader(io.RawIOBase):
    def __init__(self, made: socket.socket, ends: float) -> None:
        self._made, self._ends = made, ends

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._made.settimeout(_left(self._ends))
        return self._made.recv_into(buffer)
