"""The fake API server of the controller's benchmark, in a process of its own: it notes what arrives, and when."""

import multiprocessing
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Final

from _controller_fleet import AGAIN, Fleet

from ktrain import names
from tests.controller.fake_api import FakeApi
from tests.controller.fake_http import Answers, Request
from tests.controller.fake_objects import TABLES, Key, Stored, encoded
from tests.controller.fake_watches import Watch, Watches

MARK: Final = re.compile(rb"<incident \d+>")
RAISED: Final = re.compile(rb'"%s"\s*:\s*"(\d+)"' % re.escape(names.ANNOTATION_ATTEMPT).encode())
BOOKMARK_SECONDS: Final = 20.0


class LateWatches(Watches):
    """Those of pods can be behind: then a job's new state is known before what became of its pods."""

    lag_seconds = 0.0

    def _next(self, watch: Watch) -> list[bytes]:
        lines = super()._next(watch)
        if watch.plural == "pods":
            time.sleep(self.lag_seconds)
        return lines


class NotingApi(FakeApi):
    """Also answers what kopf asks first: which kinds there are."""

    def __init__(self) -> None:
        super().__init__()
        self._watches = self.watches = LateWatches(self.objects, self.faults)
        self.decided: dict[str, float] = {}  # mark of a failure → when its decision arrived
        self.raised: Counter[tuple[str, str]] = Counter()  # job's uid and attempt
        self.deleted: Counter[str] = Counter()  # pod's uid
        self.actions: list[tuple[float, str]] = []
        self.holders: list[tuple[float, str]] = []  # of the lease, and since when
        self.on_deleted: Callable[[dict[str, Any]], object] = lambda _pod: None
        self.victim: int | None = None  # is killed when it has written the next intent, and has deleted nothing yet

    def _route(self, request: Request, out: Answers) -> bool:
        if document := _discovery(request.path):
            out.whole(200, encoded(document))
            return True
        return super()._route(request, out)

    def _single(self, request: Request, plural: str, key: Key, sub: str) -> Stored:
        at = time.monotonic()
        stored = super()._single(request, plural, key, sub)
        match request.method, plural:
            case "PATCH", "pytorchjobs":
                self._note_patch(request, stored, at)
            case "DELETE", "pods":
                self._note_delete(stored, at)
            case "POST" | "PATCH", "leases":
                self._note_holder(stored, at)
        return stored

    def _note_patch(self, request: Request, stored: Stored, at: float) -> None:
        self.actions.append((at, f"patch {stored.key[1]}"))
        for mark in MARK.findall(request.body):
            self.decided.setdefault(mark.decode(), at)
        if found := RAISED.search(request.body):
            self.raised[stored.uid, found[1].decode()] += 1
            victim, self.victim = self.victim, None
            if victim is not None:
                os.kill(victim, signal.SIGKILL)
                self.actions.append((time.monotonic(), "kill"))

    def _note_delete(self, stored: Stored, at: float) -> None:
        self.actions.append((at, f"delete {stored.key[1]}"))
        self.deleted[stored.uid] += 1
        if self.deleted[stored.uid] == 1:
            namespace, name = stored.key
            self.on_deleted({"metadata": {"namespace": namespace, "name": name, "uid": stored.uid}})

    def _note_holder(self, stored: Stored, at: float) -> None:
        found = re.search(rb'"holderIdentity":"([^"]*)"', stored.data)
        holder = found[1].decode() if found else ""
        if not self.holders or self.holders[-1][1] != holder:
            self.holders.append((at, holder))


class Program:
    """What the other process can be asked for: each method by its name."""

    def __init__(self, num_jobs: int, num_nodes: int) -> None:
        self._api = NotingApi()
        self._fleet = Fleet(self._api, num_jobs, num_nodes)
        self._api.on_deleted = self._fleet.deleted
        self._fleet.load()
        self._api.open()
        threading.Thread(target=self._bookmark, daemon=True).start()

    def describe(self) -> dict[str, Any]:
        """How to reach it, and what it holds."""
        sizes = [len(it.data) for it in self._api.objects.all("pods")]
        return {"kubeconfig": self._api.kubeconfig, "pods": len(sizes), "pod_bytes": sum(sizes) / len(sizes)}

    def run(self, seconds: float, rate: float, failures: float = 0, again: int = AGAIN) -> dict[str, Any]:
        """Events; says how many, and which requests came meanwhile."""
        before = len(self._api.requests)
        events = self._fleet.run(seconds, rate=rate, failures=failures, again=again)
        asked = Counter(_describe(it) for it in self._api.requests[before:])
        return {"events": events, "requests": asked}

    def be_late(self, seconds: float) -> None:
        """So much behind are the watches of pods from now on."""
        self._api.watches.lag_seconds = seconds

    def kill_after_intent(self, victim: int) -> None:
        """The next intent that is written is the last thing that this process did."""
        self._api.victim = victim

    def expire(self) -> None:
        """All watches end, and what they would go on from is forgotten: everything has to be listed again."""
        self._api.forget()
        self._api.error(410)

    def notes(self) -> dict[str, Any]:
        """All of them, from the beginning."""
        api = self._api
        return {
            "failed": self._fleet.failed, "decided": api.decided, "raised": dict(api.raised), "deleted": dict(api.deleted),
            "actions": api.actions, "holders": api.holders,
        }  # fmt: skip

    def _bookmark(self) -> None:
        while True:
            time.sleep(BOOKMARK_SECONDS)
            self._api.bookmark()


class Api:
    """The program, from outside: `api("run", seconds=60, rate=500, failures=20)`."""

    def __init__(self, num_jobs: int, num_nodes: int, *, core: int) -> None:
        ours, theirs = multiprocessing.Pipe()
        spawn = multiprocessing.get_context("spawn")
        self._pipe = ours
        self._process = spawn.Process(target=_serve, args=(theirs, num_jobs, num_nodes, core), daemon=True)
        self._process.start()
        theirs.close()

    def __call__(self, name: str, **options: Any) -> Any:
        self._pipe.send((name, options))
        return self._pipe.recv()

    def close(self) -> None:
        """It ends."""
        self._process.kill()
        self._process.join()


def _serve(pipe: Connection, num_jobs: int, num_nodes: int, core: int) -> None:
    os.sched_setaffinity(0, {core})
    program = Program(num_jobs, num_nodes)
    while True:
        name, options = pipe.recv()
        pipe.send(getattr(program, name)(**options))


def _describe(request: Request) -> str:
    if request.is_watch:
        return "watch"
    plural = next((it for it in TABLES if f"/{it}" in request.path), request.path)
    return f"{request.method} {plural}"


def _discovery(path: str) -> dict[str, Any] | None:
    groups = sorted({table.root.split("/")[1] for table in TABLES.values() if table.root != "api/v1"})
    named = [{"groupVersion": f"{it}/v1", "version": "v1"} for it in groups]
    match path.strip("/").split("/"):
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            found = [{"name": it["groupVersion"][:-3], "versions": [it], "preferredVersion": it} for it in named]
            return {"kind": "APIGroupList", "groups": found}
        case ["api", "v1"] | ["apis", _, "v1"]:
            root = path.strip("/")
            found = [_resource(plural, table.kind) for plural, table in TABLES.items() if table.root == root]
            if root == "api/v1":
                found.append(_resource("namespaces", "Namespace"))  # kopf waits until it has heard of them
            return {"kind": "APIResourceList", "groupVersion": root.partition("/")[2], "resources": found}
    return None


def _resource(plural: str, kind: str) -> dict[str, Any]:
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    is_namespaced = plural not in {"nodes", "namespaces"}
    return {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": is_namespaced, "verbs": verbs}
