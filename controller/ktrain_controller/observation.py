"""Everything that a decision about one job is made from. Frozen: the same observation gives the same decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ktrain.jobs.workload import Workload
from ktrain.spec.platform import Elastic
from ktrain.spec.policy import Policy
from ktrain_controller.beat import Beat
from ktrain_controller.model import Job, Node, Pod
from ktrain_controller.sample import Sample
from ktrain_controller.state import State


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is known of all jobs together."""

    is_blind: bool = False  # so many launchers are silent at once that it is the network, or us
    is_cut_off: bool = False  # so many nodes are not ready at once that it is the way to them
    may_act: bool = True  # whether this minute's allowance of interruptions has something left


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the controller looks on before it acts; flags of the program. Seconds."""

    start: float = 600.0  # one pod does not run while others hold their resources
    node: float = 40.0  # a node is not ready
    silent: float = 90.0  # a launcher does not answer
    hang_margin: float = 60.0  # a launcher has not dealt with a hang that is its to deal with
    stacks: float = 10.0  # ranks write down where they stand
    straggler: float = 60.0  # ranks' paces are compared
    avoid: float = 3600.0  # a node that broke is not asked again


@dataclass(frozen=True, slots=True)
class Silence:
    """A launcher that did not answer when it was asked last."""

    since: float  # Unix seconds by the API server's clock
    is_old: bool = False  # that was a while ago, and it is being asked again


@dataclass(frozen=True, slots=True)
class Observation:
    """One job, now."""

    now: float  # Unix seconds by the API server's clock
    job: Job
    policy: Policy
    state: State
    pods: tuple[Pod, ...] = ()  # by index
    ends: tuple[Pod, ...] = ()  # pods that ended lately, as they were seen last; some are among `pods` still
    nodes: Mapping[str, Node] | None = field(default_factory=dict)  # None: we may not read nodes
    beat: Beat | None = None  # what the launcher that we ask said last
    earlier: Beat | None = None  # what it said some time before, to be compared with
    silence: Silence | None = None  # of that launcher
    sample: Sample | None = None  # of spec.autoscale.query
    workload: Workload | None = None  # of a job of Kueue's, which may have none; read only for policies that need it
    has_workload_read: bool = False
    fleet: Fleet = Fleet()
    limits: Limits = Limits()

    @property
    def alive(self) -> tuple[Pod, ...]:
        """Pods that are there and have not ended."""
        return tuple(pod for pod in self.pods if pod.phase in {"Pending", "Running", "Unknown"})

    @property
    def is_whole(self) -> bool:
        """Whether every pod of the gang runs."""
        return sum(pod.is_up for pod in self.pods) >= self.job.replicas

    @property
    def is_enough(self) -> bool:
        """Whether those that run can train: all of them, or of an elastic job enough, with the one that hosts the rendezvous."""
        up = [pod.index for pod in self.pods if pod.is_up]
        return self.is_whole or (
            isinstance(self.policy.nodes, Elastic) and 0 in up and len(up) >= self.policy.nodes.min
        )

    @property
    def commit(self) -> int:
        """The newest committed step that anybody has told us of; -1 when none is known."""
        told = [pod.exit.checkpoint for pod in (*self.ends, *self.pods) if pod.exit and pod.exit.checkpoint is not None]
        return max([self.beat.checkpoint_step if self.beat else -1, self.state.commit, *told])

    def node(self, pod: Pod) -> Node | None:
        """Where it is, None when that is not known."""
        return (self.nodes or {}).get(pod.node)
