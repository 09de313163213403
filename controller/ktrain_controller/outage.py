"""Nodes that are not ready, all together: when most of them go at once it is the way to them that is broken, not they."""

from typing import Final

from ktrain.voice import Say
from ktrain_controller.model import Node

FEW: Final = 2  # nodes that may well die together, in a cluster of three
SHARE: Final = (
    0.55  # as Kubernetes' own node controller has it (--unhealthy-zone-threshold): from there on it evicts nobody
)


class Outage:
    """Kept in step with the nodes that are known."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._known: set[str] = set()
        self._away: set[str] = set()

    def follow(self, old: Node | None, new: Node | None) -> None:
        """A node has come, has changed or is gone."""
        was_wide = self.is_wide
        if old is not None and new is None:
            self._known.discard(old.name)
            self._away.discard(old.name)
        elif new is not None:
            self._known.add(new.name)
            (self._away.discard if new.is_ready else self._away.add)(new.name)
        if self.is_wide != was_wide:
            self._say("outage" if self.is_wide else "outage_over", away=len(self._away), nodes=len(self._known))

    @property
    def num_away(self) -> int:
        """Nodes that are not ready."""
        return len(self._away)

    @property
    def is_wide(self) -> bool:
        """Whether so many are away that none of them is believed to be dead."""
        return len(self._away) > FEW and len(self._away) > SHARE * len(self._known)
