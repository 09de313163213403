"""The controller's own series."""

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ktrain_controller.decision import Decision

_SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_MINUTES: Final = (1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)


class Metrics:
    """Counted where it happens; what can be asked is read when it is scraped."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        here = self.registry
        self.decisions = Counter(
            "ktrain_controller_decisions", "Decisions, by the policy that made them.", ["policy", "deed"], registry=here
        )
        self.failures = Counter(
            "ktrain_controller_reconcile_failures",
            "Reconciliations that failed and are tried again.",
            ["reason"],
            registry=here,
        )
        self.reconcile = Histogram(
            "ktrain_controller_reconcile_seconds", "Time of one look at one job.", buckets=_SECONDS, registry=here
        )
        self.waited = Histogram(
            "ktrain_controller_queue_wait_seconds", "From a change until somebody looks at its job.",
            buckets=_SECONDS, registry=here,
        )  # fmt: skip
        self.detection = Histogram(
            "ktrain_controller_fault_detection_seconds", "From a pod's end until it is decided about.",
            buckets=_MINUTES, registry=here,
        )  # fmt: skip
        self.restart = Histogram(
            "ktrain_controller_restart_seconds", "From a restart's decision until the whole gang runs.",
            buckets=_MINUTES, registry=here,
        )  # fmt: skip
        self.odd = Counter(
            "ktrain_controller_unreadable_objects",
            "Objects that could not be read and were left out.",
            ["kind"],
            registry=here,
        )
        self.leading = Gauge("ktrain_controller_leader", "1 while this replica leads.", registry=here)
        self.scrapes = Counter(
            "ktrain_controller_scrapes", "Launchers asked for their heartbeat.", ["outcome"], registry=here
        )
        self.held = Gauge(
            "ktrain_controller_autoscale_held", "Jobs whose autoscale query gives no number.", registry=here
        )

    def decided(self, decision: Decision) -> None:
        """One more."""
        self.decisions.labels(decision.policy, type(decision.deed).__name__.lower()).inc()

    def ask_at_scrape(
        self, name: str, text: str, value: Callable[[], float | dict[str, float]], label: str = ""
    ) -> None:
        """A gauge, or a counter if its name ends so, that is read when it is scraped; a dict gives one series per key."""
        self.registry.register(_Asked(name, text, value, label))


class _Asked(Collector):
    def __init__(self, name: str, text: str, value: Callable[[], float | dict[str, float]], label: str) -> None:
        self._name, self._text, self._value, self._label = name, text, value, label

    def collect(self) -> Iterable[Metric]:
        found = self._value()
        made = CounterMetricFamily if self._name.endswith("_total") else GaugeMetricFamily
        family = made(self._name, self._text, labels=[self._label] if self._label else [])
        for key, value in (found if isinstance(found, dict) else {"": found}).items():
            family.add_metric([key] if self._label else [], value)
        yield family
