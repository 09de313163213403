"""The clients of one S3 endpoint: boto3 for everything, and for large bodies a native one, where there is one."""

from dataclasses import dataclass
from typing import Any, Final

from ktrain.storage.base import Data
from ktrain.storage.s3bulk import Bulk, open_bulk
from ktrain.storage.s3errors import explain

CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 60
CONNECTIONS: Final = 32
_SEND_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Clients:
    """What talks to the endpoint; `errors` are the exceptions of boto3."""

    boto: Any
    bulk: Bulk | None
    errors: tuple[type[Exception], ...]


class Body:
    """A body that is sent from where it lies: boto3 takes bytes or a file, and copies bytes once more.

    A file is asked for 16 KiB at a time, and a socket's time-out holds for each piece that is sent: so it gives more
    than it was asked for, but not all at once.
    """

    def __init__(self, data: Data) -> None:
        self._data = memoryview(data).cast("B")
        self._at = 0

    def __len__(self) -> int:
        return len(self._data)

    def read(self, size: int | None = -1) -> memoryview:
        """The next piece, empty at the end."""
        end = len(self._data) if size is None or size < 0 else self._at + max(size, _SEND_BYTES)
        piece = self._data[self._at : end]
        self._at += len(piece)
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        """To begin anew."""
        self._at = offset + (0, self._at, len(self._data))[whence]
        return self._at

    def tell(self) -> int:
        """Where the next piece begins."""
        return self._at


def connect(bucket: str, *, endpoint: str | None, region: str | None, ca_bundle: str | None, native: bool) -> Clients:
    """Connects to nothing yet; StorageError when the settings are wrong."""
    # Late: a third of a second that whoever only has files need not wait for.
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.handlers import add_expect_header

    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        # Repeating is ours: only we know what a lost reply means.
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=CONNECTIONS,
        # Servers older than 2025 refuse the checksums that clients add by default; blocks have ours.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # Nor is the body hashed for the signature, as over TLS: SHA-256 costs more than all the rest of an upload.
        s3={"payload_signing_enabled": False} | ({"addressing_style": "path"} if endpoint else {}),
    )
    try:
        session = boto3.session.Session()
        where = region or session.region_name or ("us-east-1" if endpoint else None)
        client = session.client("s3", endpoint_url=endpoint, region_name=where, verify=ca_bundle, config=config)
    except (BotoCoreError, ValueError) as error:
        raise explain(error, "use", "S3", endpoint or "AWS") from error
    # A round trip before each body, to save the body of a request that is refused: hardly any of ours is.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    bulk = open_bulk(session, client, bucket) if native and not ca_bundle else None
    return Clients(client, bulk, (BotoCoreError, ClientError))
