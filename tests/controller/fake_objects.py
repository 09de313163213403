"""What a fake API server remembers: objects, one counter of versions, and a window of what happened.

Objects are kept as text, as they go out: 50,000 pods have to fit, and a list of them has to cost little.
"""

import bisect
import json
import threading
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

Object = dict[str, Any]
Key = tuple[str, str]  # namespace and name
WINDOW: Final = 10_000  # events remembered of each kind
MAX_SNAPSHOTS: Final = 64


@dataclass(frozen=True, slots=True)
class Table:
    """A kind that the server knows."""

    root: str
    kind: str
    has_status: bool = True  # a subresource of its own, which other writes do not touch


TABLES: Final = {
    "pytorchjobs": Table("apis/kubeflow.org/v1", "PyTorchJob"),
    "pods": Table("api/v1", "Pod"),
    "nodes": Table("api/v1", "Node"),
    "configmaps": Table("api/v1", "ConfigMap", has_status=False),
    "events": Table("api/v1", "Event", has_status=False),
    "leases": Table("apis/coordination.k8s.io/v1", "Lease", has_status=False),
    "workloads": Table("apis/kueue.x-k8s.io/v1beta2", "Workload"),
}


class RefusedError(Exception):
    """Becomes a Status object."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


@dataclass(frozen=True, slots=True)
class Stored:
    """One object."""

    key: Key
    uid: str
    version: int
    labels: dict[str, str]
    data: bytes

    def is_in(self, namespace: str, selector: dict[str, str]) -> bool:
        return (not namespace or self.key[0] == namespace) and selector.items() <= self.labels.items()


@dataclass(frozen=True, slots=True)
class Happened:
    """One change of one object."""

    version: int
    before: Stored | None
    after: Stored | None
    data: bytes

    def line(self, namespace: str, selector: dict[str, str]) -> bytes | None:
        """For a watch; an object that loses its labels is deleted for whoever selects by them."""
        was = self.before is not None and self.before.is_in(namespace, selector)
        will = self.after is not None and self.after.is_in(namespace, selector)
        if not was and not will:
            return None
        word = b"DELETED" if not will else b"MODIFIED" if was else b"ADDED"
        return b'{"type":"%s","object":%s}\n' % (word, self.data)


@dataclass(slots=True)
class History:
    """Of one kind; `floor` is the newest version of which it has forgotten the successors."""

    floor: int = 0
    lines: deque[Happened] = field(default_factory=deque)

    def since(self, version: int) -> list[Happened]:
        """What came after it; RefusedError 410 when it is forgotten."""
        if version < self.floor:
            raise RefusedError(410, "Expired", f"too old resource version: {version} ({self.floor})")
        at = bisect.bisect_right(self.lines, version, key=lambda it: it.version)
        return [self.lines[each] for each in range(at, len(self.lines))]


class Objects:
    """All kinds. Every change takes `changed`, and wakes who waits for it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.version = 1
        self.new_uid: Callable[[], str] = lambda: str(uuid.uuid4())  # may be exchanged
        self._clock = clock
        self._tables: dict[str, dict[Key, Stored]] = {plural: {} for plural in TABLES}
        self._histories = {plural: History() for plural in TABLES}
        self._snapshots: dict[str, tuple[int, list[bytes]]] = {}

    def all(self, plural: str, namespace: str = "", selector: dict[str, str] | None = None) -> list[Stored]:
        """In the server's order: by namespace and name."""
        with self.changed:
            found = [it for it in self._tables[plural].values() if it.is_in(namespace, selector or {})]
        return sorted(found, key=lambda it: it.key)

    def get(self, plural: str, key: Key) -> Stored:
        """One of them; RefusedError 404."""
        with self.changed:
            if found := self._tables[plural].get(key):
                return found
        raise RefusedError(404, "NotFound", f'{plural} "{key[1]}" not found')

    def since(self, plural: str, version: int) -> list[Happened]:
        """For a watch."""
        return self._histories[plural].since(version)

    def newest(self, plural: str) -> int:
        """Version of the last change of that kind."""
        lines = self._histories[plural].lines
        return lines[-1].version if lines else 0

    def forget(self) -> None:
        """Compaction: older versions, and the tokens of lists, are 410 from now on."""
        with self.changed:
            self._snapshots.clear()
            for history in self._histories.values():
                history.floor = self.version
                history.lines.clear()

    def page(
        self, plural: str, namespace: str, selector: dict[str, str], *, limit: int, token: str
    ) -> tuple[int, list[bytes], str]:
        """Version, objects and the next token. All pages are of the moment of the first."""
        with self.changed:
            version, rest = self._resume(token) if token else self._fresh(plural, namespace, selector)
            if not limit or len(rest) <= limit:
                return version, rest, ""
            following = uuid.uuid4().hex
            self._snapshots[following] = (version, rest[limit:])
            if len(self._snapshots) > MAX_SNAPSHOTS:
                del self._snapshots[next(iter(self._snapshots))]
            return version, rest[:limit], following

    def create(self, plural: str, document: Object, *, is_whole: bool = False) -> Stored:
        """A new object; RefusedError 409. Its status comes later, unless it is `is_whole`."""
        table, meta = TABLES[plural], document["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        with self.changed:
            if key in self._tables[plural]:
                raise RefusedError(409, "AlreadyExists", f'{plural} "{key[1]}" already exists')
            given = {"uid": self.new_uid(), "creationTimestamp": self._now()}
            new = {"apiVersion": table.root.partition("/")[2], "kind": table.kind, **document}
            new["metadata"] = given | meta
            if table.has_status and not is_whole:
                new["status"] = {"phase": "Pending"} if plural == "pods" else {}
            return self._put(plural, new, None)

    def patch(self, plural: str, key: Key, change: Object, *, sub: str = "", is_whole: bool = False) -> Stored:
        """A merge patch; RefusedError 409 when metadata.resourceVersion or metadata.uid in it is another's."""
        with self.changed:
            old = self.get(plural, key)
            meta = dict(change.get("metadata") or {})
            uid, version = meta.pop("uid", None), meta.pop("resourceVersion", None)
            if not is_whole:
                _check(old, uid, version, plural)
            change = {**change, "metadata": meta}
            if TABLES[plural].has_status and not is_whole:
                change = {it: value for it, value in change.items() if (it == "status") == (sub == "status")}
            was = json.loads(old.data)
            new = merged(was, change)
            return old if new == was else self._put(plural, new, old)

    def delete(self, plural: str, key: Key, *, uid: str | None, version: str | None, grace: int | None) -> Stored:
        """Of a pod that runs somewhere: only announced, unless `grace` is 0."""
        with self.changed:
            old = self.get(plural, key)
            _check(old, uid, version, plural)
            seconds = self._grace(plural, json.loads(old.data), grace)
            if not seconds:
                return self.remove(plural, key)
            gone = {"deletionTimestamp": self._now(seconds), "deletionGracePeriodSeconds": seconds}
            return self.patch(plural, key, {"metadata": gone}, is_whole=True)

    def remove(self, plural: str, key: Key) -> Stored:
        """At once, as a node's kubelet does in the end."""
        with self.changed:
            old = self.get(plural, key)
            last = self._versioned(json.loads(old.data), key)
            del self._tables[plural][key]
            self._happened(plural, Happened(last.version, replace(old, data=b""), None, last.data))
            return last

    def _fresh(self, plural: str, namespace: str, selector: dict[str, str]) -> tuple[int, list[bytes]]:
        return self.version, [it.data for it in self.all(plural, namespace, selector)]

    def _resume(self, token: str) -> tuple[int, list[bytes]]:
        if token not in self._snapshots:
            raise RefusedError(410, "Expired", "The provided continue parameter is too old")
        return self._snapshots[token]

    def _put(self, plural: str, document: Object, old: Stored | None) -> Stored:
        meta = document["metadata"]
        new = self._versioned(document, (meta.get("namespace", ""), meta["name"]))
        self._tables[plural][new.key] = new
        self._happened(plural, Happened(new.version, old and replace(old, data=b""), new, new.data))
        return new

    def _versioned(self, document: Object, key: Key) -> Stored:
        self.version += 1
        meta = document["metadata"]
        meta["resourceVersion"] = str(self.version)
        return Stored(key, meta["uid"], self.version, dict(meta.get("labels") or {}), encoded(document))

    def _happened(self, plural: str, what: Happened) -> None:
        history = self._histories[plural]
        history.lines.append(what)
        if len(history.lines) > WINDOW:
            history.floor = history.lines.popleft().version
        self.changed.notify_all()

    def _grace(self, plural: str, pod: Object, asked: int | None) -> int:
        spec = pod.get("spec") or {}
        ended = (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
        if plural != "pods" or not spec.get("nodeName") or ended:
            return 0
        seconds = int(spec.get("terminationGracePeriodSeconds", 30)) if asked is None else asked
        return min(seconds, int(pod["metadata"].get("deletionGracePeriodSeconds", seconds)))

    def _now(self, seconds: float = 0) -> str:
        at = datetime.fromtimestamp(self._clock(), UTC) + timedelta(seconds=seconds)
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def encoded(document: Object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def merged(old: Any, change: Any) -> Any:
    """RFC 7386."""
    if not isinstance(change, dict):
        return change
    new = dict(old) if isinstance(old, dict) else {}
    for name, value in change.items():
        if value is None:
            new.pop(name, None)
        else:
            new[name] = merged(new.get(name), value)
    return new


def _check(old: Stored, uid: str | None, version: str | None, plural: str) -> None:
    if uid is not None and uid != old.uid:
        raise RefusedError(
            409, "Conflict", f"the UID in the precondition ({uid}) does not match the UID in record ({old.uid})"
        )
    if version is not None and version != str(old.version):
        raise RefusedError(
            409, "Conflict", f'Operation cannot be fulfilled on {plural} "{old.key[1]}": the object has been modified'
        )
