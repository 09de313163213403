"""The one place that speaks to the Kubernetes API: plain objects in and out, every failure a sentence with an exit code."""

import json
import math
import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self

import urllib3
import yaml
from kubernetes import config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from ktrain.cluster.kinds import POD, Kind
from ktrain.cluster.problems import MAX_AFTER_SECONDS, problem
from ktrain.errors import ClusterError, ForbiddenError, MissingError, NoKindError, UnreachableError

Object = dict[str, Any]
TIMEOUT_SECONDS: Final = 15.0
SILENCE_SECONDS: Final = 70.0  # of a watch: bookmarks come every minute, so a longer one means a dead connection
PAGE: Final = 500  # objects per request of a list
MERGE: Final = "application/merge-patch+json"
_JSON: Final = "application/json"
_NO_SUCH_PATH: Final = ("page not found", "could not find the requested resource")


class Cluster:
    """A cluster, and the namespace that is meant when none is named."""

    def __init__(self, api: ApiClient, namespace: str, name: str) -> None:
        self._api = api
        self.namespace = namespace
        self.name = name
        self._dated: tuple[float, float] | None = None  # the server's clock, and ours that is never set

    @classmethod
    def connect(cls, *, context: str | None = None, retries: int = 2) -> Self:
        """As kubectl does: $KUBECONFIG, ~/.kube/config, or the pod's own account. ClusterError when there is none.

        A server that cannot be reached, or that is busy and says for how long, is asked again `retries` times before
        the caller is told. Whoever has a rhythm of its own wants 0.
        """
        settings = Configuration()
        settings.retries = urllib3.Retry(
            total=retries, connect=retries, read=0, backoff_factor=0.2,
            retry_after_max=int(MAX_AFTER_SECONDS),
        )  # fmt: skip
        try:
            contexts, active = config.list_kube_config_contexts(  # type: ignore[no-untyped-call]
                config_file=_config_file()
            )
        except ConfigException:
            return cls._in_cluster(settings)
        except (yaml.YAMLError, OSError, ValueError) as error:
            raise ClusterError(f"the kubeconfig cannot be read: {' '.join(str(error).split())}") from None
        chosen = active if context is None else next((it for it in contexts if it["name"] == context), None)
        if chosen is None:
            names = ", ".join(sorted(it["name"] for it in contexts))
            raise MissingError(f"there is no context {context!r} in the kubeconfig; there are {names}")
        try:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=_config_file(), context=chosen["name"], client_configuration=settings
            )
        except (ConfigException, OSError) as error:
            raise ClusterError(f"context {chosen['name']!r} of the kubeconfig cannot be used: {error}") from error
        return cls._of(settings, chosen["context"].get("namespace") or "default", chosen["name"])

    @classmethod
    def _in_cluster(cls, settings: Configuration) -> Self:
        try:
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
            with open("/var/run/secrets/kubernetes.io/serviceaccount/namespace", encoding="utf-8") as file:  # noqa: PTH123
                namespace = file.read().strip()
        except (ConfigException, OSError):
            looked = os.environ.get("KUBECONFIG") or "~/.kube/config"
            raise UnreachableError(
                f"there is no cluster to talk to: no kubeconfig with a context in {looked}, and this is no pod; "
                "`ktrain run` runs the job here"
            ) from None
        return cls._of(settings, namespace, "in-cluster")

    @classmethod
    def _of(cls, settings: Configuration, namespace: str, name: str) -> Self:
        return cls(ApiClient(settings), namespace, name)

    @property
    def server_time(self) -> float | None:
        """The server's Unix seconds now, by its last answer; a step of the clock of this machine does not move it."""
        if self._dated is None:
            return None
        then, at = self._dated
        return then + time.monotonic() - at

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object; MissingError when it is not there."""
        return self._json("GET", kind.path(namespace, name), kind=kind)

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """One object, or None."""
        try:
            return self.get(kind, namespace, name)
        except MissingError:
            return None

    def list(self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = "") -> Iterator[Object]:
        """All objects of a namespace, or of all namespaces, page by page."""
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": PAGE}
        token: str | None = ""
        while token is not None:
            page = self._json("GET", kind.path(namespace), query={**query, "continue": token}, kind=kind)
            yield from page["items"]
            token = page["metadata"].get("continue") or None

    def page(self, kind: Kind, namespace: str = "", *, labels: str = "", token: str = "", limit: int = PAGE) -> bytes:
        """Part of a list, as it came. ExpiredError when the token of the page before has become too old."""
        query = {"labelSelector": labels, "limit": limit, "continue": token}
        return bytes(self._ask("GET", kind.path(namespace), kind=kind, query=query).data)

    def watch(
        self, kind: Kind, namespace: str = "", *, labels: str = "", version: str, seconds: float,
        silence: float = SILENCE_SECONDS,
    ) -> Generator[bytes, None, None]:  # fmt: skip
        """The changes after a version, line by line with bookmarks, until the server ends it after about `seconds`.

        UnreachableError when the connection breaks, or nothing at all came for `silence` seconds.
        """
        query = {
            "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": max(1, math.ceil(seconds)),
            "resourceVersion": version, "labelSelector": labels,
        }  # fmt: skip
        timeout = (TIMEOUT_SECONDS, silence)
        answer = self._ask("GET", kind.path(namespace), kind=kind, query=query, timeout=timeout, is_stream=True)
        return self._split(answer)

    def create(self, kind: Kind, document: Object, *, dry_run: bool = False) -> Object:
        """A new object; TakenError when there is one of that name."""
        query = {"dryRun": "All"} if dry_run else {}
        path = kind.path(document["metadata"]["namespace"])
        return self._json("POST", path, query={**query, "fieldManager": "ktrain"}, body=document, kind=kind)

    def patch(self, kind: Kind, namespace: str, name: str, change: Object, *, sub: str = "") -> Object:
        """A merge patch; with metadata.resourceVersion in it, TakenError when the object has changed since."""
        return self._json("PATCH", kind.path(namespace, name, sub), body=change, content=MERGE, kind=kind)

    def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str = "", version: str = "", grace: int | None = None
    ) -> None:
        """Deletes it, and what it owns, in the background; nothing when it is gone already.

        TakenError when it is another one by now, or of another version. `grace` is in seconds; with 0 a pod is forgotten at once, whether or not its node has stopped it.
        """
        options: Object = {"propagationPolicy": "Background"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        named = {"uid": uid, "resourceVersion": version}
        if preconditions := {key: value for key, value in named.items() if value}:
            options["preconditions"] = preconditions
        try:
            self._json("DELETE", kind.path(namespace, name), body=options, kind=kind)
        except MissingError:
            return

    def raw(self, path: str) -> Object:
        """A page that is no object of a kind: /version, or what an API group serves."""
        return self._json("GET", path)

    def text(self, path: str, *, query: Mapping[str, Any] | None = None) -> str:
        """A page that is no JSON: a pod's log, a pod's /metrics through the API server's proxy."""
        return str(self._request("GET", path, query=query).data.decode(errors="replace"))

    def lines(
        self, path: str, *, query: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> Iterator[str]:
        """A page that grows, line by line, until it ends."""
        answer = self._request("GET", path, query=query, timeout=timeout, is_stream=True)
        with closing(self._split(answer)) as lines:
            yield from (line.decode(errors="replace") for line in lines)

    def execute(self, pod: Object, command: Sequence[str], *, seconds: float = TIMEOUT_SECONDS) -> str:
        """Runs a program in a pod's first container, to its end; what it printed. ClusterError when it failed."""
        from kubernetes.stream import ws_client

        me, container = pod["metadata"], pod["spec"]["containers"][0]["name"]
        wanted = [
            ("container", container),
            ("stdout", "true"),
            ("stderr", "true"),
            *(("command", it) for it in command),
        ]
        method, url, headers, *_ = self._api.param_serialize(
            "GET",
            POD.path(me["namespace"], me["name"], "exec"),
            query_params=wanted,
            header_params={},
            auth_settings=["BearerToken"],
        )
        try:
            said = ws_client.websocket_call(  # type: ignore[no-untyped-call]
                self._api.configuration, method, url, headers=headers, _preload_content=False
            )
            said.run_forever(timeout=seconds)
            code = said.returncode  # first: what has been read is forgotten, its status too
            text = "".join(said.read_all()).strip()
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _refused(error, me["name"]) from None
        if code != 0:
            raise ClusterError(f"{command[0]} in pod {me['name']} ended with {code}: {text[-200:]}")
        return text

    def evict(self, pod: Object) -> None:
        """Asks the pod to go, as a drained node does. BusyError while a PodDisruptionBudget forbids it; gone is fine."""
        me = pod["metadata"]
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": me["name"], "namespace": me["namespace"]},
            "deleteOptions": {"preconditions": {"uid": me["uid"]}},
        }
        try:
            self._json("POST", POD.path(me["namespace"], me["name"], "eviction"), body=body)
        except MissingError:
            return

    def _split(self, answer: Any) -> Generator[bytes, None, None]:
        rest = b""
        try:
            # Closed when its reader leaves early: else the connection would give the next one what is left of it.
            with closing(answer.stream(amt=None, decode_content=False)) as chunks:
                for chunk in chunks:
                    *whole, rest = (rest + chunk).split(b"\n")
                    yield from whole
            if rest:
                yield rest
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._silent(error) from None

    def _json(
        self, method: str, path: str, *, kind: Kind | None = None, query: Mapping[str, Any] | None = None,
        body: Any = None, content: str = _JSON,
    ) -> Object:  # fmt: skip
        document: Object = json.loads(self._ask(method, path, kind=kind, query=query, body=body, content=content).data)
        return document

    def _ask(self, method: str, path: str, *, kind: Kind | None, **options: Any) -> Any:
        try:
            return self._request(method, path, **options)
        except MissingError as error:
            if kind and any(told in str(error) for told in _NO_SUCH_PATH):
                raise NoKindError(kind.unknown()) from None
            raise

    def _request(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None, content: str = _JSON,
        timeout: float | tuple[float, float] | None = TIMEOUT_SECONDS, is_stream: bool = False,
    ) -> Any:  # fmt: skip
        wanted = [(name, value) for name, value in (query or {}).items() if value != ""]
        headers = {"Accept": "application/json, */*", **({"Content-Type": content} if body is not None else {})}
        call = self._api.param_serialize(
            method, path, query_params=wanted, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            response = self._api.call_api(*call, _request_timeout=timeout).response
            self._look_at_the_clock(response.headers.get("Date"))
            if response.status >= 400 or not is_stream:
                response.data  # noqa: B018  -- reads it all, inside the try
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._silent(error) from None
        if response.status >= 400:
            reason = str(response.reason)
            raise problem(response.status, response.data, reason, response.headers, cluster=self.name)
        return response

    def _look_at_the_clock(self, date: str | None) -> None:
        try:
            self._dated = (parsedate_to_datetime(date or "").timestamp(), time.monotonic())
        except ValueError:  # a proxy's answer may have none: the one before still holds
            return

    def _silent(self, error: Exception) -> UnreachableError:
        return UnreachableError(
            f"the cluster of context {self.name!r} does not answer at {self._api.configuration.host}: "
            f"{_reason(error)}; is it up, and is this its address?"
        )


def _config_file() -> str:
    """Now: the client library reads the variable once, when it is imported."""
    return os.environ.get("KUBECONFIG") or "~/.kube/config"


def _refused(error: Exception, pod: str) -> ClusterError:
    """Why nothing could be run in a pod: the handshake's status is only in the sentence."""
    told = str(getattr(error, "reason", None) or error)
    if "Handshake status 403" in told:  # its headers may have these digits too
        return ForbiddenError(
            f"the cluster refuses to run anything in pod {pod}; it needs the right to create pods/exec"
        )
    return ClusterError(f"nothing can be run in pod {pod}: {' '.join(told.split())[:200]}")


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", None) or error
    return str(inner).rpartition(": ")[2].strip() or type(inner).__name__
