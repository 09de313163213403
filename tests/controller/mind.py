"""A controller in the test's own thread: it looks when it is told to, and knows at once what the API server has."""

from dataclasses import dataclass

from ktrain.cluster import JOB, POD, Cluster
from ktrain_controller import project
from ktrain_controller.act import Actor
from ktrain_controller.beat import Beat
from ktrain_controller.ends import Ends
from ktrain_controller.limit import Allowance
from ktrain_controller.metrics import Metrics
from ktrain_controller.model import Job, Pod
from ktrain_controller.observation import Fleet, Limits
from ktrain_controller.reconcile import Reconciler
from ktrain_controller.store import Store
from ktrain_controller.world import World
from tests.controller.operator import NAMESPACE


def odd(why: str) -> None:
    """Nothing that cannot be read is expected."""
    raise AssertionError(why)


@dataclass(slots=True)
class Clock:
    """Goes on when the test says so."""

    now: float = 1_900_000_000.0

    def __call__(self) -> float:
        return self.now


class Mind:
    """Of the job `demo`; it leads for so many writes."""

    def __init__(
        self, cluster: Cluster, clock: Clock, *, writes: int = 1000, is_dry: bool = False, allowance: int = 60
    ) -> None:
        self._cluster, self._left = cluster, writes
        self._jobs, self._pods = Store[Job](), Store[Pod](lambda it: it.owner)
        self.beat: Beat | None = None  # what its launcher says
        self.metrics = Metrics()
        self.ends = Ends(clock)
        self._jobs.listen(self.ends.follow)
        self._pods.listen(self.ends.hear)
        world = World(
            jobs=self._jobs, pods=self._pods, nodes=None, ends=self.ends, now=clock,
            fleet=Fleet, beat=lambda _: self.beat, earlier=lambda _: None, silence=lambda _: None,
            sample=lambda _: None, limits=Limits(start=100),
        )  # fmt: skip
        actor = Actor(cluster, self._leads, lambda: None, clock=clock)
        self._reconciler = Reconciler(
            world, cluster, actor, allowance=Allowance(allowance, clock=clock), metrics=self.metrics,
            say=lambda *_, **__: None, is_dry=is_dry,
        )  # fmt: skip

    def look(self, name: str = "demo") -> float | None:
        """Seconds until the next look; NotLeaderError when it is over with it."""
        self.know()
        return self.look_at_what_is_known(name)

    def know(self) -> None:
        """What is there now."""
        self._jobs.replace(project.jobs(odd).page(self._cluster.page(JOB, NAMESPACE)).items)
        self._pods.replace(project.pods(odd).page(self._cluster.page(POD, NAMESPACE)).items)

    def look_at_what_is_known(self, name: str = "demo") -> float | None:
        """As a controller does whose watches are late."""
        return self._reconciler.look(f"{NAMESPACE}/{name}")

    def _leads(self) -> bool:
        self._left -= 1
        return self._left >= 0
