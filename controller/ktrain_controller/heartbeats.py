"""Which launcher is asked for each job, and what is known from it."""

from collections.abc import Callable
from typing import Final

from ktrain.voice import Say
from ktrain_controller import pace
from ktrain_controller.beat import Beat
from ktrain_controller.metrics import Metrics
from ktrain_controller.model import Pod
from ktrain_controller.scrape import Scraper
from ktrain_controller.store import Store

FEW: Final = 2  # silent jobs that might be silent for reasons of their own


class Heartbeats:
    """Follows the pods: the first of a job that runs is asked."""

    def __init__(
        self, pods: Store[Pod], *, now: Callable[[], float], wake: Callable[[str], object], metrics: Metrics, say: Say,
        window: float,
    ) -> None:  # fmt: skip
        """window: over how many seconds the paces of ranks are compared."""
        self._window = window
        self._pods, self._wake, self._metrics, self._say = pods, wake, metrics, say
        self._silent: set[str] = set()
        self.beats: dict[str, Beat] = {}
        self.earlier: dict[str, Beat] = {}  # older ones that they are compared with
        self.scraper = Scraper(on_beat=self._hear, on_silence=self._miss, wall=now)

    def follow(self, old: Pod | None, new: Pod | None) -> None:
        """A pod changed: perhaps another one is to be asked."""
        owner = (new or old).owner  # type: ignore[union-attr]
        up = [pod for pod in self._pods.of(owner) if pod.is_up and pod.ip and pod.port]
        if up:
            first = min(up, key=lambda pod: pod.index)
            self.scraper.watch(owner, first.ip, first.port)
        else:
            self.forget(owner)

    def forget(self, key: str) -> None:
        """Nobody is there to be asked."""
        self.scraper.forget(key)
        self._silent.discard(key)
        self.beats.pop(key, None)
        self.earlier.pop(key, None)

    @property
    def are_most_silent(self) -> bool:
        """One silent launcher is its own trouble; when most fall silent at once it is the network's, or ours."""
        silent, asked = self.scraper.silent_share()
        return silent >= FEW and 2 * silent > asked

    def _hear(self, key: str, beat: Beat) -> None:
        self._compare(key, beat)
        self.beats[key] = beat
        self._silent.discard(key)
        self._metrics.scrapes.labels("answer").inc()
        self._wake(key)

    def _compare(self, key: str, beat: Beat) -> None:
        found = pace.earlier(self.earlier.get(key), self.beats.get(key), beat, self._window)
        if found is None:
            self.earlier.pop(key, None)
        else:
            self.earlier[key] = found

    def _miss(self, key: str, reason: str) -> None:
        if key not in self._silent:
            self._silent.add(key)
            self._say("silent", job=key, why=reason)
        self._metrics.scrapes.labels("silence").inc()
        self._wake(key)
