"""An S3 server that throws large bodies away: what is left of a measurement is the client.

A real server hashes each body (SeaweedFS: MD5), which on a small machine costs more than all that clients do, and is taken
from the training beside it. Knows what the benchmarks' clients ask for, no more; large objects cannot be read back.

python benchmarks/_sink.py --rate 80e6 --delay 0.02 --log FILE
"""

import argparse
import json
import re
import signal
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

KEPT_BYTES: Final = 1 << 20  # smaller bodies are kept
_DATE: Final = "2026-01-01T00:00:00.000Z"
Answer = tuple[int, list[str], bytes]  # status, headers, body
Query = dict[str, list[str]]


class Sink:
    """Objects by key, and the requests that came."""

    def __init__(self, rate: float, delay: float) -> None:
        self.rate, self.delay = rate, delay
        self.objects: dict[str, tuple[bytes, int, str, list[str]]] = {}
        self.log: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    def serve(self, connection: socket.socket) -> None:
        """One connection, request by request."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer, pending = bytearray(1 << 20), b""
        while True:
            while b"\r\n\r\n" not in pending:
                if not (more := connection.recv(65536)):
                    return
                pending += more
            head, _, rest = pending.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            if headers.get("expect"):
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body, size, pending = self.receive(connection, int(headers.get("content-length", 0)), rest, buffer)
            with self.lock:
                status, more_headers, answer = self.answer(method, target, headers, body, size)
                self.log.append({"method": method, "key": target, "status": status, "bytes_in": size})
            time.sleep(self.delay)
            given = [*more_headers, f"Content-Length: {len(answer)}"] if method != "HEAD" else more_headers
            text = "\r\n".join([f"HTTP/1.1 {status} .", "Connection: keep-alive", *given])
            connection.sendall(text.encode("latin-1") + b"\r\n\r\n" + (answer if method != "HEAD" else b""))

    def receive(self, connection: socket.socket, size: int, rest: bytes, buffer: bytearray) -> tuple[bytes, int, bytes]:
        """The body, when it is small; its size; what came after it. No faster than the link."""
        body, seen = bytearray(rest[:size]), min(len(rest), size)
        began = time.perf_counter()
        while seen < size:
            count = connection.recv_into(buffer, min(len(buffer), size - seen))
            assert count, "the client went away"
            if size < KEPT_BYTES:
                body += buffer[:count]
            seen += count
            ahead = seen / self.rate - (time.perf_counter() - began)
            if ahead > 0.002:
                time.sleep(ahead)
        return (bytes(body) if size < KEPT_BYTES else b""), size, rest[size:]

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes, size: int) -> Answer:
        """To a request that was read whole."""
        parts = urlsplit(target)
        key, query = unquote(parts.path), parse_qs(parts.query, keep_blank_values=True)
        if method == "PUT":
            return self.put(key, query, headers, body, size)
        if method == "POST":
            return self.post(key, query, body)
        if method == "DELETE":
            self.objects.pop(key, None)
            return 204, [], b""
        if method == "GET" and key.strip("/").count("/") == 0:
            return 200, [], self.list(key.strip("/"), query)
        return self.get(key, method)

    def put(self, key: str, query: Query, headers: dict[str, str], body: bytes, size: int) -> Answer:
        """An object, under its condition, or a part of one."""
        old, tag = self.objects.get(key), f'"{uuid.uuid4().hex}"'
        if "partNumber" in query:
            return 200, [f"ETag: {tag}"], b""
        is_taken = headers.get("if-none-match") == "*" and old is not None
        is_changed = "if-match" in headers and (old is None or old[2] != headers["if-match"])
        if is_taken or is_changed:
            return 412, [], b"<Error><Code>PreconditionFailed</Code></Error>"
        marks = [f"{name}: {value}" for name, value in headers.items() if name.startswith("x-amz-meta-")]
        self.objects[key] = body, size, tag, marks
        return 200, [f"ETag: {tag}"], b""

    def post(self, key: str, query: Query, body: bytes) -> Answer:
        """Begins or completes an upload in parts, or deletes many objects."""
        if "uploads" in query:
            return 200, [], b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
        if "uploadId" in query:
            self.objects[key] = b"", 0, '"1"', []
            return 200, [], b"<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>"
        for found in re.findall(rb"<Key>([^<]*)</Key>", body):
            self.objects.pop(key.rstrip("/") + "/" + found.decode(), None)
        return 200, [], b"<DeleteResult></DeleteResult>"

    def get(self, key: str, method: str) -> Answer:
        """A small object, or the head of any."""
        if not (old := self.objects.get(key)):
            return 404, [], b"<Error><Code>NoSuchKey</Code></Error>"
        told = [f"ETag: {old[2]}", "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT", *old[3]]
        return 200, ([*told, f"Content-Length: {old[1]}"] if method == "HEAD" else told), old[0]

    def list(self, bucket: str, query: dict[str, list[str]]) -> bytes:
        """ListObjectsV2, all on one page."""
        prefix, cut = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        keys = sorted(key.removeprefix(f"/{bucket}/") for key in self.objects)
        keys = [key for key in keys if key.startswith(prefix)]
        folders = sorted(
            {prefix + key[len(prefix) :].partition(cut)[0] + cut for key in keys if cut and cut in key[len(prefix) :]}
        )
        plain = [key for key in keys if not (cut and cut in key[len(prefix) :])]
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{self.objects[f'/{bucket}/{key}'][1]}</Size>"
            f"<ETag>1</ETag><LastModified>{_DATE}</LastModified></Contents>"
            for key in plain
        )
        common = "".join(f"<CommonPrefixes><Prefix>{escape(it)}</Prefix></CommonPrefixes>" for it in folders)
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}{common}</ListBucketResult>".encode()


def main() -> None:
    """Prints its endpoint, serves until SIGTERM, writes the requests."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--delay", type=float, required=True)
    parser.add_argument("--log", type=Path, required=True)
    given = parser.parse_args()
    sink = Sink(given.rate, given.delay)
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)

    def end(*_: object) -> None:
        given.log.write_text("".join(json.dumps(it) + "\n" for it in sink.log))
        raise SystemExit

    signal.signal(signal.SIGTERM, end)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=sink.serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
