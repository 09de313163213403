"""What a tracker is told of a run beside its records, and where it keeps the name that it gave the run."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ktrain import names
from ktrain.errors import NotFound
from ktrain.storage import Storage

_PRIVATE: Final = frozenset({"env", "podPatch", "secretEnv"})  # where people put what nobody else should read


@dataclass(frozen=True)
class Facts:
    """The run as a tracker shows it."""

    run: str = ""  # uuid
    job: str = ""
    params: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Any], run: str) -> "Facts":
        """Of the resolved job file; or of `fit(...)`'s, which has the trainer's part only."""
        spec = {name: value for name, value in document.get("spec", document).items() if name not in _PRIVATE}
        return cls(run, document.get("metadata", {}).get("name", ""), dict(flat(spec)))


@dataclass(frozen=True)
class Kept:
    """A tracker's own name of the run, kept beside the checkpoints, so that a restart goes on with it."""

    storage: Storage
    tracker: str

    def read(self) -> dict[str, Any]:
        """Empty before the first write."""
        try:
            found = json.loads(self.storage.get(self._key)[0])
        except NotFound:
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, document: Mapping[str, Any]) -> None:
        """Raises StorageError."""
        self.storage.put(self._key, json.dumps(document).encode())

    @property
    def _key(self) -> str:
        return f"{names.DIR_TRACKERS}/{self.tracker}.json"


def flat(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Keys with dots, values as text; what is empty or null is left out."""
    if isinstance(node, Mapping | list | tuple):
        inner = node.items() if isinstance(node, Mapping) else enumerate(node)
        for name, value in inner:
            yield from flat(value, f"{path}.{name}" if path else str(name))
    elif node is not None:
        yield path, str(node)
