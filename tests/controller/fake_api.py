"""A small Kubernetes API server: real answers over real sockets, and a switch for each way to fail.

    with FakeApi() as api:
        cluster = api.connect(tmp_path)
        api.put("pods", {"metadata": {"namespace": "ml", "name": "a-0"}})

`faults` and the methods say what goes wrong; a pod that has a node is deleted gracefully, until `remove`.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Self

import pytest

from ktrain.cluster import Cluster
from tests.controller.fake_http import Out, Request, Server, status
from tests.controller.fake_objects import TABLES, Key, Object, Objects, RefusedError, Stored, encoded
from tests.controller.fake_watches import Faults, Watches, error_line

_PATH: Final = re.compile(r"/(api/v1|apis/[^/]+/[^/]+)(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?(?:/(status))?")
_AMONG: Final = re.compile(r"([\w./-]+) in \(([\w,-]+)\)")
_MERGE: Final = "application/merge-patch+json"


class FakeApi:
    """Serves while it is open."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock  # of the Date header and of timestamps; may be exchanged
        self.faults = Faults()
        self.requests: list[Request] = []
        self.rest: Callable[[str, float], object] = lambda _plural, seconds: time.sleep(seconds)  # of a slow page
        self.port = 0
        self.objects = Objects(lambda: self.clock())
        self._watches = Watches(self.objects, self.faults)
        self._server: Server | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """After `close`, too: at the same port, with the same objects."""
        self._server = Server(self.port, self._serve, lambda: self.clock())
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """As when the machine goes: no answer is finished."""
        server, self._server = self._server, None
        if server:
            server.shutdown()
            server.server_close()
            server.hang_up()
            self.speak()

    def restart(self) -> None:
        """All connections break; nothing is forgotten."""
        self.close()
        self.open()

    def connect(self, folder: Path, *, retries: int = 0) -> Cluster:
        """A client of this server; `folder` gets a kubeconfig."""
        path = folder / "kubeconfig"
        path.write_text(self.kubeconfig, encoding="utf-8")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KUBECONFIG", str(path))
            return Cluster.connect(retries=retries)

    @property
    def kubeconfig(self) -> str:
        """Without TLS."""
        parts = {
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "u", "user": {"token": "x"}}],
            "contexts": [{"name": "fake", "context": {"cluster": "c", "user": "u"}}],
        }
        return json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "fake", **parts})

    def count(self, method: str = "", *, path: str = "", is_watch: bool | None = None) -> int:
        """Requests so far; `path` is any part of it."""
        fit = (it for it in tuple(self.requests) if method in {"", it.method} and path in it.path)
        return sum(is_watch in {None, it.is_watch} for it in fit)

    def put(self, plural: str, document: Object) -> Object:
        """Somebody else makes it, or merges this into it, status and all."""
        key = _key(document)
        with self.objects.changed:
            try:
                return _document(self.objects.patch(plural, key, document, is_whole=True))
            except RefusedError:
                return _document(self.objects.create(plural, document, is_whole=True))

    def load(self, plural: str, documents: Iterable[Object]) -> None:
        """Many new ones, status and all."""
        for document in documents:
            self.objects.create(plural, document, is_whole=True)

    def remove(self, plural: str, namespace: str, name: str) -> None:
        """Somebody else takes it away; of a pod: its node has stopped it."""
        self.objects.remove(plural, (namespace, name))

    def get(self, plural: str, namespace: str, name: str) -> Object:
        """As it is; RefusedError 404."""
        return _document(self.objects.get(plural, (namespace, name)))

    def all(self, plural: str) -> list[Object]:
        """As they are."""
        return [_document(it) for it in self.objects.all(plural)]

    def watching(self, plural: str = "") -> int:
        """How many watches are open; one that its client has left counts until something is sent on it."""
        return self._watches.count(plural)

    def bookmark(self) -> None:
        """To all open watches."""
        self._watches.order(lambda watch: setattr(watch, "bookmarks", 1))

    def say(self, line: bytes) -> None:
        """Any line to all open watches."""
        self._watches.order(lambda watch: watch.orders.append(line))

    def error(self, code: int, message: str = "the test says so") -> None:
        """An ERROR event to all open watches, which end."""
        self.say(error_line(code, message))

    def drop_watches(self, *, is_clean: bool = True) -> None:
        """All of them end, or their connections break."""
        self._watches.order(lambda watch: setattr(watch, "end", watch.end or ("clean" if is_clean else "abrupt")))

    def forget(self) -> None:
        """Compaction: who asks for what is older than now, or with the token of a list, gets 410. Open watches go on."""
        self._watches.forget()

    def refuse(self, times: int, code: int, after: str | None = None) -> None:
        """What the next answers are."""
        self.faults.refusals += [(code, after)] * times

    def speak(self) -> None:
        """After `faults.is_mute`, or `lose_watches`: connections that were half-open break, new ones are served."""
        self.faults.is_mute = False
        self._watches.find()
        self.drop_watches(is_clean=False)

    def lose_watches(self, plural: str) -> None:
        """Those that are open now deliver nothing any more, and nobody is told."""
        self._watches.lose(plural)

    def together(self) -> AbstractContextManager[None]:
        """What happens inside reaches the watches at once."""
        return self._watches.together()

    def _serve(self, request: Request, out: Out) -> bool:
        self.requests.append(request)
        if self.faults.is_mute:
            self._watches.wait_for_speech()
            return False
        try:
            return self._route(request, out)
        except RefusedError as error:
            out.whole(error.code, status(error.code, error.reason, str(error)))
            return True

    def _route(self, request: Request, out: Out) -> bool:
        if self.faults.refusals:
            code, after = self.faults.refusals.pop(0)
            out.whole(code, status(code, "", "the test says so"), **({} if after is None else {"Retry-After": after}))
            return True
        found = _PATH.fullmatch(request.path)
        if not found or found[3] not in TABLES or TABLES[found[3]].root != found[1]:
            out.whole(404, b"404 page not found\n")
            return True
        _, namespace, plural, name, sub = (part or "" for part in found.groups())
        if (request.method, plural) in self.faults.forbidden:
            raise RefusedError(403, "Forbidden", f"{plural} is forbidden: you may not {request.method} it")
        if request.method != "GET" or name:
            stored = self._single(request, plural, (namespace, name), sub)
            out.whole(201 if request.method == "POST" else 200, stored.data)
            return True
        if request.is_watch:
            return self._watches.serve(request, out, plural, namespace)
        out.whole(200, self._page(request, plural, namespace))
        return True

    def _single(self, request: Request, plural: str, key: Key, sub: str) -> Stored:
        body = json.loads(request.body or b"{}")
        match request.method:
            case "GET":
                return self.objects.get(plural, key)
            case "POST":
                return self.objects.create(plural, body)
            case "PATCH" if request.headers.get("content-type") == _MERGE:
                return self.objects.patch(plural, key, body, sub=sub)
            case "DELETE":
                return self._delete(plural, key, body)
        raise RefusedError(405, "MethodNotAllowed", f"this fake knows no such {request.method}")

    def _delete(self, plural: str, key: Key, options: Object) -> Stored:
        only = options.get("preconditions") or {}
        uid, version = only.get("uid"), only.get("resourceVersion")
        return self.objects.delete(plural, key, uid=uid, version=version, grace=options.get("gracePeriodSeconds"))

    def _page(self, request: Request, plural: str, namespace: str) -> bytes:
        if self.faults.bodies:
            return self.faults.bodies.pop(0)
        limit, token = int(request.query.get("limit", 0)), request.query.get("continue", "")
        if found := _AMONG.fullmatch(request.query.get("labelSelector", "")):
            version, items, following = self._among(plural, namespace, found[1], found[2].split(","))
        else:
            version, items, following = self.objects.page(plural, namespace, request.selector, limit=limit, token=token)
        self.rest(plural, self.faults.list_seconds)  # what it says is of the time when it was asked
        head = {"resourceVersion": str(version)} | ({"continue": following} if following else {})
        kind = f"{TABLES[plural].kind}List".encode()
        return b'{"kind":"%s","metadata":%s,"items":[%s]}' % (kind, encoded(head), b",".join(items))

    def _among(self, plural: str, namespace: str, label: str, values: list[str]) -> tuple[int, list[bytes], str]:
        """All that have one of these values, on one page."""
        found = (it for value in values for it in self.objects.all(plural, namespace, {label: value}))
        return self.objects.version, [it.data for it in found], ""


def _key(document: Object) -> Key:
    meta = document["metadata"]
    return meta.get("namespace", ""), meta["name"]


def _document(stored: Stored) -> Object:
    document: Object = json.loads(stored.data)
    return document
