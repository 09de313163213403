"""Large bodies through obstore (Rust), where it is installed: less CPU for each byte, and none of it under the GIL.

It only ever makes the first try of a request. Whatever goes wrong with it is settled by boto3, whose answers we know:
so there is one place that knows what may be repeated, what a lost reply means, and how to say it to people.
"""

import importlib.util
from datetime import timedelta
from typing import Any, Final

from ktrain.storage.base import Data

LEAST_BYTES: Final = 1 << 20  # below this the client makes no difference
_SECONDS: Final = 60  # for a whole request; a slower connection is left to boto3, which has no such limit


class Bulk:
    """One bucket."""

    def __init__(self, store: Any) -> None:
        import obstore

        self._obstore, self._store = obstore, store

    def put(self, key: str, data: Data, *, metadata: dict[str, str], create: bool) -> str:
        """Writes the whole object in one request, sent from where it lies; returns its tag."""
        answer = self._obstore.put(
            self._store,
            key,
            data,
            attributes=metadata,
            mode="create" if create else "overwrite",
            use_multipart=False,
        )
        return str(answer["e_tag"])

    def read(self, key: str, begin: int, end: int) -> memoryview:
        """Bytes [begin, end), fewer when the object ends before."""
        return memoryview(self._obstore.get_range(self._store, key, start=begin, end=end))


def open_bulk(session: Any, client: Any, bucket: str) -> Bulk | None:
    """What boto3's client reaches, with the session's credentials, renewed as it renews them; None without obstore."""
    if importlib.util.find_spec("obstore") is None or session.get_credentials() is None:
        return None
    from obstore.auth.boto3 import Boto3CredentialProvider
    from obstore.store import S3Store

    store = S3Store(
        bucket,
        # As boto3 has resolved them: from the job file, the environment, or its configuration.
        region=client.meta.region_name or "us-east-1",
        endpoint=client.meta.endpoint_url,
        virtual_hosted_style_request=False,
        unsigned_payload=True,
        client_options={"allow_http": True, "connect_timeout": "5s", "timeout": f"{_SECONDS}s"},
        retry_config={"max_retries": 0, "retry_timeout": timedelta(0)},
        # Asked for with nearly every request: boto3 knows when its credentials must be renewed.
        credential_provider=Boto3CredentialProvider(session, ttl=timedelta(seconds=1)),
    )
    return Bulk(store)
