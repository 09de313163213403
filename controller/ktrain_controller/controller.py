"""The controller put together: watches, heartbeats, queries, workers, the lease, and its own pages."""

import gc
import threading
import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ktrain.cluster import Cluster
from ktrain.serve import Page, Server
from ktrain.voice import Say
from ktrain_controller import fleet_series, series
from ktrain_controller.act import Actor
from ktrain_controller.ends import Ends
from ktrain_controller.heartbeats import Heartbeats
from ktrain_controller.lease import Lease
from ktrain_controller.limit import Allowance, Limiter
from ktrain_controller.metrics import Metrics
from ktrain_controller.observation import Fleet
from ktrain_controller.options import Options
from ktrain_controller.outage import Outage
from ktrain_controller.prometheus import Prometheus
from ktrain_controller.queue import WorkQueue
from ktrain_controller.reconcile import Reconciler
from ktrain_controller.sampler import Sampler
from ktrain_controller.watch import REASONS
from ktrain_controller.watches import Watches
from ktrain_controller.workers import Workers
from ktrain_controller.world import World

STALE_SECONDS: Final = 150.0  # a watch that heard nothing for so long, bookmarks included, is broken
END_SECONDS: Final = 5.0


class Controller:
    """One replica; `run` returns when it was told to stop."""

    def __init__(self, cluster: Cluster, options: Options, say: Say) -> None:
        self._options, self._say, self._cluster = options, say, cluster
        self.metrics = Metrics()
        self.queue = WorkQueue(clock=time.monotonic, on_taken=self.metrics.waited.observe)
        self.watches = Watches.of(cluster, options.namespace, self.metrics, say, has_nodes=options.has_nodes)
        self._ends = Ends(self._now)
        self._outage = Outage(say)
        self._heartbeats = Heartbeats(
            self.watches.pods.store, now=self._now, wake=self.queue.add, metrics=self.metrics, say=say,
            window=options.limits.straggler,
        )  # fmt: skip
        self._stop = threading.Event()
        self._allowance = Allowance(options.actions_per_minute)
        self._sampler = self._make_sampler()
        self._lease = self._make_lease()
        self.workers = Workers(
            self.queue, self._make_reconciler().look, may_act=self._may_act, metrics=self.metrics, say=say
        )

    def run(self) -> None:
        """Serves, watches, and acts while it leads."""
        server = Server(self._pages(), bind=self._options.bind, port=self._options.port, setting="--port")
        self._say("serving", port=server.port, identity=self._options.identity, dry_run=self._options.is_dry)
        for what in self._options.lost:
            self._say("without", what=what)
        self._listen()
        self.watches.start(self._stop)
        if self._sampler:
            threading.Thread(target=self._sampler.run, args=(self._stop,), name="sampler", daemon=True).start()
        self.workers.start(self._options.workers)
        if self._wait_for_lists():
            self._lease.run(self._stop)  # returns when we are told to stop, and the lease is free
        self.queue.close()
        self.workers.join(END_SECONDS)
        server.close()

    def stop(self) -> None:
        """From a signal handler: `run` returns soon."""
        self._stop.set()

    # -- parts ---------------------------------------------------------------------------------------------------------
    def _make_reconciler(self) -> Reconciler:
        world = World(
            jobs=self.watches.jobs.store, pods=self.watches.pods.store,
            nodes=self.watches.nodes.store if self.watches.nodes else None, ends=self._ends, now=self._now,
            fleet=self._fleet,
            beat=self._heartbeats.beats.get, earlier=self._heartbeats.earlier.get,
            silence=self._heartbeats.scraper.silence,
            sample=self._sampler.samples.get if self._sampler else lambda _key: None, limits=self._options.limits,
        )  # fmt: skip
        limiter = Limiter(rate=self._options.requests_per_second, burst=int(self._options.requests_per_second))
        actor = Actor(self._cluster, lambda: self._lease.is_leader, limiter.wait)
        return Reconciler(
            world, self._cluster, actor, allowance=self._allowance, metrics=self.metrics, say=self._say,
            is_dry=self._options.is_dry,
        )  # fmt: skip

    def _make_sampler(self) -> Sampler | None:
        if not self._options.prometheus:
            return None
        return Sampler(
            Prometheus(self._options.prometheus), self.watches.jobs.store, now=self._now,
            seconds=self._options.sample_seconds, wake=self.queue.add, metrics=self.metrics,
        )  # fmt: skip

    def _make_lease(self) -> Lease:
        return Lease(
            self._cluster, self._options.lease_namespace, self._options.lease_name, self._options.identity,
            clock=time.monotonic, wall=lambda: datetime.now(UTC), pause=self._stop.wait, on_start=self._lead,
            on_stop=self._follow, say=lambda why: self._say("lease", why=why),
        )  # fmt: skip

    def _now(self) -> float:
        """The API server's time: a step of this machine's clock must not end a job."""
        found = self._cluster.server_time
        return time.time() if found is None else found

    def _fleet(self) -> Fleet:
        return Fleet(
            is_blind=self._heartbeats.are_most_silent, is_cut_off=self._outage.is_wide, may_act=self._allowance.left > 0
        )

    def _may_act(self) -> bool:
        return self._lease.is_leader and self.watches.are_synced

    # -- events --------------------------------------------------------------------------------------------------------
    def _listen(self) -> None:
        self.watches.jobs.store.listen(self._ends.follow)
        self.watches.pods.store.listen(self._ends.hear)
        self.watches.pods.store.listen(self._heartbeats.follow)
        if self.watches.nodes:
            self.watches.nodes.store.listen(self._outage.follow)  # before those whom it is about are woken
        self.watches.wake(self.queue.add)

    def _wait_for_lists(self) -> bool:
        while not self.watches.are_synced:
            if self._stop.wait(0.05):
                return False
        gc.collect()
        gc.freeze()  # what is known lives long: looking through it again and again would only cost
        self._say("synced", jobs=len(self.watches.jobs.store), pods=len(self.watches.pods.store))
        return True

    def _lead(self) -> None:
        self.metrics.leading.set(1)
        self._say("leads", identity=self._options.identity)
        for job in self.watches.jobs.store.all():
            self.queue.add(job.key)

    def _follow(self) -> None:
        self.metrics.leading.set(0)
        self._say("leads_no_more", identity=self._options.identity)

    # -- pages ---------------------------------------------------------------------------------------------------------
    def _pages(self) -> dict[str, Page]:
        ask = self.metrics.ask_at_scrape
        ask(series.QUEUE_DEPTH, lambda: float(self.queue.depth))
        ask(series.JOBS, lambda: float(len(self.watches.jobs.store)))
        ask(series.PODS, lambda: float(len(self.watches.pods.store)))
        ask(series.WATCH_AGE, self._ages)
        ask(series.RELISTS, self._relists)
        ask(series.SILENT, lambda: float(self._heartbeats.scraper.silent_share()[0]))
        ask(series.NODES_AWAY, lambda: float(self._outage.num_away))
        ask(series.ASKED, lambda: float(self._heartbeats.scraper.silent_share()[1]))
        return {"/metrics": self._metrics_page, "/healthz": self._healthz, "/readyz": self._readyz}

    def _ages(self) -> dict[str, float]:
        return {it.kind.plural: it.age for it in self.watches.all}

    def _relists(self) -> dict[str, float]:
        return {reason: float(sum(it.relists[reason] for it in self.watches.all)) for reason in REASONS}

    def _metrics_page(self) -> tuple[int, str, bytes]:
        own = generate_latest(self.metrics.registry)
        return HTTPStatus.OK, CONTENT_TYPE_LATEST, own + (self._of_jobs() if self._may_act() else b"")

    def _of_jobs(self) -> bytes:
        """From the leader only: one source for each job."""
        samples = self._sampler.samples if self._sampler else {}
        return fleet_series.render(self.watches.jobs.store, self.watches.pods.store, samples.get)

    def _healthz(self) -> tuple[int, str, bytes]:
        if not (self.workers.are_alive and self.watches.are_alive):
            return HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", b"a worker or a watch has died\n"
        return HTTPStatus.OK, "text/plain", b"ok\n"

    def _readyz(self) -> tuple[int, str, bytes]:
        old = [f"{kind} {age:.0f} s" for kind, age in self._ages().items() if age > STALE_SECONDS]
        if old or not self.watches.are_synced:
            told = f"not in step with the cluster: {', '.join(old) or 'the first lists are not here'}\n"
            return HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", told.encode()
        return HTTPStatus.OK, "text/plain", b"ok\n"
