"""What the controller was told by its flags."""

from dataclasses import dataclass, field

from ktrain_controller.observation import Limits


@dataclass(frozen=True, slots=True)
class Options:
    """The whole program's."""

    namespace: str = ""  # empty: all of them
    has_nodes: bool = True  # whether it may read them
    lease_namespace: str = "ktrain-system"
    lease_name: str = "ktrain-controller"
    identity: str = "controller"
    prometheus: str = ""  # empty: nothing is autoscaled
    is_dry: bool = False
    workers: int = 4
    requests_per_second: float = 100.0
    actions_per_minute: int = 60
    port: int = 8080
    bind: str = ""
    limits: Limits = field(default_factory=Limits)
    sample_seconds: float = 15.0

    @property
    def lost(self) -> list[str]:
        """What it cannot do as it was told to run, for its log."""
        nodes = (
            "nodes are not read: one that died or is about to is noticed, and avoided, only when it cannot end a pod"
        )
        prometheus = "no --prometheus: nothing is autoscaled"
        return [nodes] * (not self.has_nodes) + [prometheus] * (not self.prometheus)
