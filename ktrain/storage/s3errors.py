"""What an S3 client's exception means: try again, a lost condition, or one clear sentence for the user."""

from typing import Final

from ktrain.errors import NotFound, StorageError

_AGAIN: Final = {
    "SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "Throttling", "ThrottlingException",
    "RequestLimitExceeded", "TooManyRequestsException", "OperationAborted", "BadDigest", "IncompleteBody",
}  # fmt: skip
_LOST: Final = {"PreconditionFailed", "412"}
_RACE: Final = {"ConditionalRequestConflict", "409"}
_MISSING: Final = {"NoSuchKey", "404", "NotFound"}
_KEYS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or storage.secret"
_SENTENCES: Final = {
    "NoSuchBucket": "the bucket does not exist; create it or correct storage.url",
    "InvalidBucketName": "this is no valid bucket name; correct storage.url",
    "AccessDenied": "access denied; the credentials need s3:GetObject, PutObject, DeleteObject and ListBucket here",
    "AllAccessDisabled": "access denied: all access to it is disabled",
    "ExpiredToken": "the credentials have expired; renew them",
    "TokenRefreshRequired": "the credentials have expired; renew them",
    "InvalidToken": f"the session token is not valid; {_KEYS}",
    "InvalidAccessKeyId": f"the server does not know this access key; {_KEYS}",
    "SignatureDoesNotMatch": f"the secret key does not fit the access key; {_KEYS}",
    "RequestTimeTooSkewed": "this machine's clock differs too much from the server's; set the clock",
    "PermanentRedirect": "the bucket is in another region; set storage.region",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set storage.region",
    "IllegalLocationConstraintException": "the bucket is in another region; set storage.region",
    "QuotaExceeded": "the quota is used up; free some space or raise it",
    "InsufficientStorage": "the server's disk is full",
    "XMinioStorageFull": "the server's disk is full",
    "EntityTooLarge": "the object is larger than the server takes",
    "KeyTooLongError": "the key is too long",
    "InvalidObjectState": "the object is archived; restore it first",
}  # fmt: skip
_BY_STATUS: Final = {
    301: "PermanentRedirect", 401: "InvalidAccessKeyId", 403: "AccessDenied", 413: "EntityTooLarge",
    507: "InsufficientStorage",
}  # fmt: skip
_CREDENTIALS: Final = {
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError",
    "SSOTokenLoadError", "UnauthorizedSSOTokenError", "NoAuthTokenError", "ProfileNotFound",
}  # fmt: skip
_UNREACHABLE: Final = {
    "EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError",
    "ProxyConnectionError", "HTTPClientError", "ConnectionError", "ResponseStreamingError", "IncompleteReadError",
    "ReadTimeoutException",
}  # fmt: skip
_NOT_SENT: Final = {"EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError"}


class UnsupportedError(StorageError):
    """The server does not know this kind of request."""


def code_of(error: Exception) -> str:
    """The server's error code, or the HTTP status where it sent no body; empty for errors of the connection."""
    response = getattr(error, "response", None)
    found = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
    return str(found or _status(error) or "")


def is_again(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    return code_of(error) in _AGAIN or _status(error) in {429, 500, 502, 503, 504} or _is_unreachable(error)


def is_in_doubt(error: Exception) -> bool:
    """Whether a write that ended so may have been applied all the same."""
    return type(error).__name__ not in _NOT_SENT


def is_never_reached(error: Exception) -> bool:
    """Whether the server was not even connected to: a wrong address, most likely, if it never was before."""
    return type(error).__name__ in _NOT_SENT


def is_lost(error: Exception) -> bool:
    """Whether a condition did not hold."""
    return code_of(error) in _LOST or _status(error) == 412


def is_race(error: Exception) -> bool:
    """Whether the server saw another conditional write at the same moment and applied neither or one."""
    return code_of(error) in _RACE or _status(error) == 409


def is_missing(error: Exception) -> bool:
    """Whether there is no such object."""
    return code_of(error) in _MISSING


def is_unsupported(error: Exception) -> bool:
    """Whether the server does not know this kind of request."""
    return code_of(error) in {"NotImplemented", "MissingContentMD5"} or _status(error) == 501


def is_short(error: Exception) -> bool:
    """Whether a range begins after the object's end."""
    return code_of(error) == "InvalidRange" or _status(error) == 416


def explain(error: Exception, verb: str, where: str, endpoint: str) -> StorageError:
    """One sentence without secrets: the client's own text is left to the cause, it may quote keys."""
    if is_missing(error):
        return NotFound(f"{where}: no such object")
    kind = UnsupportedError if is_unsupported(error) else StorageError
    return kind(f"cannot {verb} {where}: {_reason(error, endpoint)}")


def _reason(error: Exception, endpoint: str) -> str:
    kind, code = type(error).__name__, code_of(error)
    if kind in _CREDENTIALS:
        return "no usable credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, storage.secret, or the pod's identity"
    if kind in {"SSLError", "SSLCertificateError"}:
        return f"{endpoint} has a certificate that is not trusted here; set storage.caBundle"
    if kind in {"InvalidEndpointDiscoveryConfiguration", "UnknownEndpointError", "NoRegionError", "InvalidRegionError"}:
        return "the region is missing or not valid; set storage.region"
    if kind == "ParamValidationError":
        return "this is no valid bucket name or key; correct storage.url"
    if _is_unreachable(error):
        return f"{endpoint} cannot be reached ({kind}); check storage.endpoint and the network"
    known = _SENTENCES.get(code) or _SENTENCES.get(_BY_STATUS.get(_status(error), ""))
    if known:
        return known
    if is_again(error):
        return f"{endpoint} keeps answering {code}; it is overloaded or broken"
    return f"{endpoint} answered {code or kind}"


def _is_unreachable(error: Exception) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & _UNREACHABLE) and not names & {"SSLError"}


def _status(error: Exception) -> int:
    response = getattr(error, "response", None)
    metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    return int(metadata.get("HTTPStatusCode", 0))
