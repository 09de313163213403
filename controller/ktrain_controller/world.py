"""Everything that is known of the cluster, by job."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ktrain.spec.policy import Policy
from ktrain_controller.beat import Beat
from ktrain_controller.ends import Ends
from ktrain_controller.model import Job, Node, Pod
from ktrain_controller.observation import Fleet, Limits, Observation, Silence
from ktrain_controller.sample import Sample
from ktrain_controller.state import State
from ktrain_controller.store import Store


@dataclass(frozen=True, slots=True)
class World:
    """Filled by the watches, the scrapes and the queries; read by whoever looks at a job."""

    jobs: Store[Job]
    pods: Store[Pod]  # by owner
    nodes: Store[Node] | None  # None: we may not read them
    ends: Ends
    now: Callable[[], float]  # the API server's
    fleet: Callable[[], Fleet]
    beat: Callable[[str], Beat | None]
    earlier: Callable[[str], Beat | None]
    silence: Callable[[str], Silence | None]
    sample: Callable[[str], Sample | None]
    limits: Limits

    def observe(self, job: Job, policy: Policy, state: State) -> Observation:
        """This job, now."""
        pods = tuple(sorted(self.pods.of(job.key), key=lambda pod: pod.index))
        return Observation(
            now=self.now(), job=job, policy=policy, state=state, pods=pods, ends=self.ends.of(job.key),
            nodes=self._nodes(pods), beat=self.beat(job.key), earlier=self.earlier(job.key),
            silence=self.silence(job.key), sample=self.sample(job.key), fleet=self.fleet(), limits=self.limits,
        )  # fmt: skip

    def _nodes(self, pods: tuple[Pod, ...]) -> Mapping[str, Node] | None:
        if self.nodes is None:
            return None
        found = {pod.node: self.nodes.get(pod.node) for pod in pods if pod.node}
        return {name: node for name, node in found.items() if node is not None}
