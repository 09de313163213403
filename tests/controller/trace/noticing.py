"""The reference model of half-open watches: they are noticed in time, and then everything is known again."""

from typing import Final

from tests.controller.trace.world import World

NOTICED_SECONDS: Final = 70


class Noticing:
    """Of all watches of a world's controller."""

    def __init__(self, world: World) -> None:
        self._world = world

    def look(self) -> None:
        """Whenever nothing is under way."""
        for plural, at in tuple(self._world.lost.items()):
            late = self._world.clock.now - at
            if not self._world.brain.eyes.is_lost(plural):
                del self._world.lost[plural]
            assert plural not in self._world.lost or late < NOTICED_SECONDS, (
                f"{plural} are not watched since {late:g} s"
            )
