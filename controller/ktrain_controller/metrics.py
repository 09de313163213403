"""The controller's own series, counted where it happens; what can be asked is read when it is scraped."""

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ktrain_controller import series
from ktrain_controller.decision import Decision
from ktrain_controller.series import Series

_SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_MINUTES: Final = (1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)


class Metrics:
    """One registry, filled by all parts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.decisions = self._counter(series.DECISIONS)
        self.failures = self._counter(series.FAILURES)
        self.reconcile = self._histogram(series.RECONCILE, _SECONDS)
        self.waited = self._histogram(series.WAITED, _SECONDS)
        self.detection = self._histogram(series.DETECTION, _MINUTES)
        self.restart = self._histogram(series.RESTART, _MINUTES)
        self.odd = self._counter(series.ODD)
        self.leading = self._gauge(series.LEADER)
        self.scrapes = self._counter(series.SCRAPES)
        self.held = self._gauge(series.HELD)
        self._begin()

    def decided(self, decision: Decision) -> None:
        """One more."""
        self.decisions.labels(decision.policy, type(decision.deed).__name__.lower()).inc()

    def ask_at_scrape(self, row: Series, value: Callable[[], float | dict[str, float]]) -> None:
        """Read when it is scraped; a dict gives one series per value of the label."""
        self.registry.register(_Asked(row, value))

    def _begin(self) -> None:
        """At 0: of a counter that begins with its first event, rate() never sees that one."""
        for reason in ("busy", "cluster", "bug"):
            self.failures.labels(reason)
        for kind in ("job", "pod", "node"):
            self.odd.labels(kind)
        for outcome in ("answer", "silence"):
            self.scrapes.labels(outcome)

    def _counter(self, row: Series) -> Counter:
        return Counter(row.name, row.help, row.labels, registry=self.registry)

    def _gauge(self, row: Series) -> Gauge:
        return Gauge(row.name, row.help, row.labels, registry=self.registry)

    def _histogram(self, row: Series, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(row.name, row.help, row.labels, buckets=buckets, registry=self.registry)


class _Asked(Collector):
    def __init__(self, row: Series, value: Callable[[], float | dict[str, float]]) -> None:
        self._row, self._value = row, value

    def collect(self) -> Iterable[Metric]:
        found = self._value()
        made = CounterMetricFamily if self._row.kind == "counter" else GaugeMetricFamily
        family = made(self._row.name, self._row.help, labels=self._row.labels)
        for key, value in (found if isinstance(found, dict) else {"": found}).items():
            family.add_metric([key] if self._row.labels else [], value)
        yield family
