"""The one place that speaks to the Kubernetes API: plain objects in and out, every failure a sentence with an exit code."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

import urllib3
import yaml
from kubernetes import config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from ktrain.cluster.kinds import Kind
from ktrain.errors import ClusterError, ForbiddenError, MissingError, NoKindError, TakenError, UnreachableError

Object = dict[str, Any]
TIMEOUT_SECONDS: Final = 15.0
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

    @classmethod
    def connect(cls, *, context: str | None = None) -> Self:
        """As kubectl does: $KUBECONFIG, ~/.kube/config, or the pod's own account. ClusterError when there is none."""
        settings = Configuration()
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
        settings.retries = urllib3.Retry(total=2, connect=2, read=0, backoff_factor=0.2)
        return cls(ApiClient(settings), namespace, name)

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

    def create(self, kind: Kind, document: Object, *, dry_run: bool = False) -> Object:
        """A new object; TakenError when there is one of that name."""
        query = {"dryRun": "All"} if dry_run else {}
        path = kind.path(document["metadata"]["namespace"])
        return self._json("POST", path, query={**query, "fieldManager": "ktrain"}, body=document, kind=kind)

    def patch(self, kind: Kind, namespace: str, name: str, change: Object, *, sub: str = "") -> Object:
        """A merge patch; with metadata.resourceVersion in it, TakenError when the object has changed since."""
        return self._json("PATCH", kind.path(namespace, name, sub), body=change, content=MERGE, kind=kind)

    def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Deletes it, and what it owns, in the background; nothing when it is gone already."""
        options: Object = {"propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
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
        try:
            rest = b""
            for chunk in answer.stream(amt=None, decode_content=False):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in whole)
            if rest:
                yield rest.decode(errors="replace")
        finally:
            answer.release_conn()

    def _json(
        self, method: str, path: str, *, kind: Kind | None = None, query: Mapping[str, Any] | None = None,
        body: Any = None, content: str = _JSON,
    ) -> Object:  # fmt: skip
        try:
            answer = self._request(method, path, query=query, body=body, content=content)
        except MissingError as error:
            if kind and any(told in str(error) for told in _NO_SUCH_PATH):
                raise NoKindError(kind.unknown()) from None
            raise
        document: Object = json.loads(answer.data)
        return document

    def _request(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None, content: str = _JSON,
        timeout: float | None = TIMEOUT_SECONDS, is_stream: bool = False,
    ) -> Any:  # fmt: skip
        wanted = [(name, value) for name, value in (query or {}).items() if value != ""]
        headers = {"Accept": "application/json, */*", **({"Content-Type": content} if body is not None else {})}
        call = self._api.param_serialize(
            method, path, query_params=wanted, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            response = self._api.call_api(*call, _request_timeout=timeout).response
            if response.status >= 400 or not is_stream:
                response.data  # noqa: B018  -- reads it all, inside the try
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(
                f"the cluster of context {self.name!r} does not answer at {self._api.configuration.host}: "
                f"{_reason(error)}; is it up, and is this its address?"
            ) from None
        if response.status >= 400:
            raise _problem(response.status, _message(response.data) or str(response.reason), self.name)
        return response


def _config_file() -> str:
    """Now: the client library reads the variable once, when it is imported."""
    return os.environ.get("KUBECONFIG") or "~/.kube/config"


def _problem(status: int, message: str, cluster: str) -> ClusterError:
    if status == 401:
        return ForbiddenError(f"the cluster of context {cluster!r} does not know you: {message}; log in to it again")
    if status == 403:
        return ForbiddenError(f"the cluster refuses: {message}")
    if status == 404:
        return MissingError(message)
    if status == 409:
        return TakenError(message)
    return ClusterError(f"the cluster answered {status}: {message}")


def _message(body: bytes) -> str:
    text = body.decode(errors="replace").strip()
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", None) or error
    return str(inner).rpartition(": ")[2].strip() or type(inner).__name__
