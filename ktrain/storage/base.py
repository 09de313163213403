"""What ktrain asks of a place that keeps bytes: few calls, each atomic, conditions where a commit depends on them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

Data = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Stat:
    """One object: its key, its size, and a tag that changes with its content."""

    key: str
    size_bytes: int
    tag: str
    modified: datetime


class Storage(Protocol):
    """Objects under keys (`a/b/c`, relative). All errors are StorageError; a missing object is NotFound."""

    @property
    def url(self) -> str:
        """Where this is, for people and logs; holds no secret."""

    @property
    def is_fenced(self) -> bool:
        """Whether create and replace are really conditional; where they are not, two writers cannot be told apart."""

    def put(self, key: str, data: Data) -> str:
        """Writes the whole object, durable and visible at once or not at all; returns its tag."""

    def create(self, key: str, data: Data) -> str:
        """Like put, but raises Conflict when the key exists: how an epoch's prefix stays its own."""

    def replace(self, key: str, data: Data, *, tag: str) -> str:
        """Like put, but raises Conflict unless the object still has this tag: how a zombie's commit loses.

        On S3 a tag is a hash, so a writer that needs every write to be seen makes each content unique.
        """

    def get(self, key: str) -> tuple[bytes, str]:
        """The whole object and its tag."""

    def read(self, key: str, begin: int, end: int) -> Data:
        """Bytes [begin, end) of the object; ShortRead when it is shorter."""

    def stat(self, key: str) -> Stat | None:
        """The object's size and tag, None when there is none."""

    def list(self, prefix: str = "") -> Iterator[Stat]:
        """All objects whose key begins with prefix, in key order; for sweeping and people, never to find the newest."""

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Names directly below the folder `prefix` (empty, or ending in /) that have objects below them, sorted."""

    def delete(self, keys: Iterable[str]) -> None:
        """Removes objects; those that do not exist count as removed."""

    def delete_folder(self, folder: str) -> None:
        """Removes every object below folder/, and what interrupted writes left there."""
