"""The watches: what changes in the cluster wakes the jobs that it is about."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from ktrain import names
from ktrain.cluster import JOB, NODE, POD, Cluster
from ktrain.voice import Say
from ktrain_controller import project
from ktrain_controller.metrics import Metrics
from ktrain_controller.model import Job, Node, Pod
from ktrain_controller.store import Store
from ktrain_controller.watch import Reflector

WELL: Final = (True, "")
OURS: Final = f"{names.MANAGED_BY}=ktrain"


@dataclass(frozen=True, slots=True)
class Watches:
    """One reflector a kind, each with a thread of its own."""

    jobs: Reflector[Job]
    pods: Reflector[Pod]
    nodes: Reflector[Node] | None
    _threads: list[threading.Thread] = field(default_factory=list)

    @classmethod
    def of(cls, cluster: Cluster, namespace: str, metrics: Metrics, say: Say, *, has_nodes: bool) -> "Watches":
        """With empty stores."""

        def odd(kind: str) -> Callable[[str], object]:
            def tell(why: str) -> None:
                metrics.odd.labels(kind).inc()
                say("unreadable", kind=kind, why=why)

            return tell

        made = partial(Reflector, cluster=cluster, namespace=namespace, on_trouble=lambda why: say("watch", why=why))
        nodes = made(kind=NODE, projection=project.nodes(odd("node")), store=Store()) if has_nodes else None
        return cls(
            jobs=made(kind=JOB, labels=OURS, projection=project.jobs(odd("job")), store=Store()),
            pods=made(kind=POD, labels=OURS, projection=project.pods(odd("pod")), store=Store(lambda pod: pod.owner)),
            nodes=nodes,
        )

    @property
    def all(self) -> tuple[Reflector[Any], ...]:
        """Those that there are."""
        return (self.jobs, self.pods, *((self.nodes,) if self.nodes else ()))

    @property
    def are_synced(self) -> bool:
        """Whether the first lists are here."""
        return all(it.is_synced for it in self.all)

    def start(self, stop: threading.Event) -> None:
        """A thread each."""
        for it in self.all:
            thread = threading.Thread(target=it.run, args=(stop,), name=f"watch-{it.kind.plural}", daemon=True)
            thread.start()
            self._threads.append(thread)

    @property
    def are_alive(self) -> bool:
        """Whether none has died of a bug: nothing would be heard of its kind any more."""
        return all(thread.is_alive() for thread in self._threads)

    def wake(self, add: Callable[[str], object]) -> None:
        """From now on `add(key)` is called for each job that a change is about."""
        self.jobs.store.listen(lambda old, new: add((new or old).key))  # type: ignore[union-attr]
        self.pods.store.listen(lambda old, new: add((new or old).owner))  # type: ignore[union-attr]
        if self.nodes:
            self.nodes.store.listen(partial(self._wake_by_node, add))

    def _wake_by_node(self, add: Callable[[str], object], old: Node | None, new: Node | None) -> None:
        # A kubelet's report that all is as it was; or a new one, of which the first list of a large cluster has thousands,
        # and for each all pods would be looked through.
        if new and _word(new) == (_word(old) if old else WELL):
            return
        name = (new or old).name  # type: ignore[union-attr]
        for owner in dict.fromkeys(pod.owner for pod in self.pods.store.all() if pod.node == name):
            add(owner)


def _word(node: Node) -> tuple[bool, str]:
    """What its jobs have to know."""
    return node.is_ready, node.notice
