"""The pod's Prometheus series: one table of them, and a collector that fills it from what is true now."""

import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, get_args

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from ktrain import __version__
from ktrain.goodput import BADPUT, PRODUCTIVE
from ktrain.names import Exit
from ktrain.names import Metric as Name
from ktrain.snapshot import STEP_BUCKETS, Phase, Snapshot
from ktrain_launcher.board import Board, Rank
from ktrain_launcher.exits import CAUSES, CRASHED
from ktrain_launcher.ledger import Ledger
from ktrain_launcher.tally import STATES, Tally

STALE_SECONDS: Final = 120.0
"""Older words of a living rank are no longer served, except times, which stay true; a dead rank's are gone at once."""

MAX_METRICS: Final = 50
PHASES: Final[tuple[Phase, ...]] = get_args(Phase)
CODES: Final = tuple(int(code) for code in Exit)
EVERYWHERE: Final = frozenset({Name.RANKS_UP, Name.RESTARTS, Name.RANK_EXITS, Name.STATE})
"""Of a pod's own series, those that every node serves in the aggregated mode (`perRank: false`); node 0 serves them all."""

Kind = Literal["gauge", "counter", "histogram", "summary", "info"]
Scope = Literal["job", "rank", "pod"]
Values = Iterator[tuple[tuple[str, ...], float]]


@dataclass(frozen=True, slots=True)
class Series:
    """A row of docs/metrics.md."""

    name: Name
    kind: Kind
    scope: Scope
    help: str
    labels: tuple[str, ...] = ()


TABLE: Final = (
    Series(Name.STEP, "gauge", "job", "Optimizer steps done."),
    Series(Name.TOTAL_STEPS, "gauge", "job", "Optimizer steps of the whole run, estimated."),
    Series(Name.SAMPLES, "counter", "job", "Samples trained on; goes back when a restart repeats some."),
    Series(Name.TOKENS, "counter", "job", "Tokens trained on; goes back when a restart repeats some."),
    Series(Name.DATA_EPOCH, "gauge", "job", "Passes over the training data, with their fraction."),
    Series(Name.LOSS, "gauge", "job", "Training loss of the newest logged step.", ("split",)),
    Series(Name.METRIC, "gauge", "job", "Metrics of the newest evaluation.", ("name", "split")),
    Series(Name.LEARNING_RATE, "gauge", "job", "Learning rate of the first parameter group."),
    Series(Name.GRAD_NORM, "gauge", "job", "Global L2 norm of the gradients before clipping."),
    Series(Name.STEP_SECONDS, "histogram", "job", "Time of one optimizer step on rank 0."),
    Series(Name.DATA_WAIT_SECONDS, "counter", "job", "Time that rank 0 waited for data."),
    Series(Name.SAMPLES_PER_SECOND, "gauge", "job", "Samples per second, all ranks together."),
    Series(Name.TOKENS_PER_SECOND, "gauge", "job", "Tokens per second, all ranks together."),
    Series(Name.PHASE, "gauge", "job", "1 for what rank 0 does now, 0 for the rest.", ("phase",)),
    Series(Name.LAST_STEP_TIMESTAMP, "gauge", "job", "When the newest step ended; the one to alert on."),
    Series(Name.RESTORED_STEP, "gauge", "job", "Step that this epoch began at."),
    Series(Name.PROGRESS, "gauge", "job", "How much of the run is done, 0 to 1."),
    Series(Name.ETA, "gauge", "job", "Time to the end of the run, estimated."),
    Series(Name.WORLD_SIZE, "gauge", "job", "Ranks of the job."),
    Series(Name.CHECKPOINT_STEP, "gauge", "job", "Step of the newest commit."),
    Series(Name.CHECKPOINT_TIMESTAMP, "gauge", "job", "When the newest commit was made."),
    Series(Name.CHECKPOINT_STALL_SECONDS, "counter", "job", "Time that checkpoints stopped training on rank 0."),
    Series(Name.CHECKPOINT_SECONDS, "counter", "job", "Time from the start of checkpoints until they were durable."),
    Series(
        Name.CHECKPOINT_INTERVAL_SECONDS, "gauge", "job", "Time between checkpoints that checkpoint.every: auto chose."
    ),
    Series(Name.CHECKPOINTS, "counter", "job", "Checkpoints committed in this epoch."),
    Series(Name.CHECKPOINT_FAILURES, "counter", "job", "Checkpoints that failed in this epoch."),
    Series(Name.NONFINITE_STEPS, "counter", "job", "Steps whose loss was not finite."),
    Series(Name.SAMPLES_SKIPPED, "counter", "job", "Samples that could not be read and were replaced."),
    Series(Name.RANK_UP, "gauge", "rank", "Whether the rank's process runs.", ("rank",)),
    Series(Name.RANK_STEP, "gauge", "rank", "Optimizer steps done.", ("rank",)),
    Series(Name.RANK_STEP_SECONDS, "counter", "rank", "Time spent in steps.", ("rank",)),
    Series(Name.RANK_DATA_WAIT_SECONDS, "counter", "rank", "Time spent waiting for data.", ("rank",)),
    Series(Name.RANK_PEER_WAIT_SECONDS, "counter", "rank", "Time its host spent waiting for other ranks.", ("rank",)),
    Series(Name.RANK_LAST_STEP_TIMESTAMP, "gauge", "rank", "When the newest step ended.", ("rank",)),
    Series(Name.RANK_CHECKPOINT_STALL_SECONDS, "counter", "rank", "Time that checkpoints stopped it.", ("rank",)),
    Series(Name.RANK_MEMORY, "gauge", "rank", "Memory in use on its device, else of its process.", ("rank",)),
    Series(Name.RANKS_UP, "gauge", "pod", "Ranks of this pod whose process runs."),
    Series(Name.RESTARTS, "counter", "pod", "Restarts of this pod's ranks in place.", ("cause",)),
    Series(Name.RANK_EXITS, "counter", "pod", "Ranks of this pod that have left.", ("code",)),
    Series(Name.RENDEZVOUS_SECONDS, "summary", "pod", "Time until all nodes of the job had met."),
    Series(Name.STATE, "gauge", "pod", "1 for what the launcher does now, 0 for the rest.", ("state",)),
    Series(Name.ATTEMPT, "gauge", "pod", "Attempt of the job that this pod belongs to."),
    Series(Name.GANG_EPOCH, "gauge", "pod", "Epoch of the gang, claimed at each rendezvous."),
    Series(Name.SNAPSHOTS_REJECTED, "counter", "pod", "Words on the ranks' socket that were none."),
    Series(
        Name.PRODUCTIVE_SECONDS,
        "counter",
        "pod",
        "Time in steps that a checkpoint holds, since the job was submitted; node 0.",
    ),
    Series(Name.BADPUT_SECONDS, "counter", "pod", "All other time since the job was submitted; node 0.", ("reason",)),
    Series(Name.UNCOMMITTED_SECONDS, "gauge", "pod", "Time in steps that no checkpoint holds yet; node 0."),
    Series(Name.JOB_INFO, "info", "pod", "Who this is; join on it.", ("job_name", "job_namespace", "run", "node_rank")),
    Series(Name.BUILD_INFO, "info", "pod", "Versions.", ("version", "python_version")),
)
CLOSED_LABELS: Final[dict[str, tuple[str, ...]]] = {
    "split": ("train", "val"),
    "phase": PHASES,
    "cause": (*sorted(set(CAUSES.values()) - {"done"}), CRASHED),
    "code": (*map(str, sorted(CODES)), "other"),
    "state": STATES,
    "reason": BADPUT,
}


@dataclass(frozen=True, slots=True)
class Identity:
    """What never changes while this launcher lives."""

    job: str
    namespace: str
    node_rank: int
    attempt: int
    per_rank: bool


class Collector:
    """A prometheus_client collector: nothing is stored, so nothing can go stale or corrupt."""

    def __init__(self, identity: Identity, board: Board, tally: Tally) -> None:
        self._identity = identity
        self._board = board
        self._tally = tally

    def collect(self) -> Iterator[Metric]:
        """Every series of the table that has a value now."""
        now = time.monotonic()
        ranks = self._board.ranks()
        chief = next((rank for rank in ranks if rank.rank == 0), None)
        for series in TABLE:
            if series.scope == "job":
                yield from self._job(series, chief, now)
            elif series.scope == "rank" and self._identity.per_rank:
                yield from _family(series, _of_ranks(series, ranks, now))
            elif series.scope == "pod" and self._is_served(series):
                yield from self._pod(series, ranks)

    def _is_served(self, series: Series) -> bool:
        me = self._identity
        return me.per_rank or me.node_rank == 0 or series.name in EVERYWHERE

    def _job(self, series: Series, chief: Rank | None, now: float) -> Iterator[Metric]:
        snapshot = _fresh(chief, now, series.name)
        if snapshot is None:
            return
        if series.kind == "histogram":
            yield _histogram(series, snapshot)
        else:
            yield from _family(series, self._told(series, _of_job(series.name, snapshot)))

    def _pod(self, series: Series, ranks: list[Rank]) -> Iterator[Metric]:
        tally, me = self._tally, self._identity
        match series.name:
            case Name.JOB_INFO:
                yield _info(series, (me.job, me.namespace, tally.run, str(me.node_rank)))
            case Name.BUILD_INFO:
                yield _info(series, (__version__, platform.python_version()))
            case Name.RENDEZVOUS_SECONDS:
                count, seconds = tally.rendezvous_count, tally.rendezvous_seconds
                yield SummaryMetricFamily(series.name, series.help, count_value=count, sum_value=seconds)
            case _:
                yield from _family(series, self._told(series, self._of_pod(series.name, ranks)))

    def _told(self, series: Series, values: Values) -> Values:
        """In the aggregated mode without the zeros of labels, which are most of what 50,000 pods would serve."""
        is_thin = not self._identity.per_rank and series.name in {*EVERYWHERE, Name.PHASE}
        return ((labels, value) for labels, value in values if value or not labels) if is_thin else values

    def _of_pod(self, name: Name, ranks: list[Rank]) -> Values:
        tally = self._tally
        match name:
            case Name.RANKS_UP:
                yield (), sum(rank.is_alive for rank in ranks)
            case Name.ATTEMPT:
                yield (), self._identity.attempt
            case Name.GANG_EPOCH:
                yield (), tally.epoch
            case Name.SNAPSHOTS_REJECTED:
                yield (), self._board.rejected
            case Name.STATE:
                yield from (((state,), float(state == tally.state)) for state in STATES)
            case Name.RESTARTS:
                restarts = tally.restarts
                yield from (((cause,), restarts.get(cause, 0)) for cause in CLOSED_LABELS["cause"])
            case Name.RANK_EXITS:
                exits = tally.exits
                yield from (((str(code),), exits.get(code, 0)) for code in sorted(CODES))
                yield ("other",), sum(count for code, count in exits.items() if code not in CODES)
            case Name.PRODUCTIVE_SECONDS | Name.BADPUT_SECONDS | Name.UNCOMMITTED_SECONDS:
                yield from _of_time(name, tally.ledger) if tally.ledger else ()
            case _:
                raise AssertionError(name)


def _of_time(name: Name, ledger: Ledger) -> Values:
    if name is Name.UNCOMMITTED_SECONDS:
        yield (), ledger.account().pending.seconds
        return
    sums = ledger.sums()
    if name is Name.PRODUCTIVE_SECONDS:
        yield (), sums.get(PRODUCTIVE, 0.0)
    else:
        yield from (((reason,), sums.get(reason, 0.0)) for reason in BADPUT)


_TIMES: Final = frozenset({Name.LAST_STEP_TIMESTAMP, Name.CHECKPOINT_TIMESTAMP, Name.RANK_LAST_STEP_TIMESTAMP})

_PLAIN: Final[dict[Name, Callable[[Snapshot], float | None]]] = {
    Name.STEP: lambda s: s.step,
    Name.TOTAL_STEPS: lambda s: s.total_steps or None,
    Name.SAMPLES: lambda s: s.samples,
    Name.TOKENS: lambda s: s.tokens or None,
    Name.DATA_EPOCH: lambda s: s.epoch,
    Name.LEARNING_RATE: lambda s: s.lr,
    Name.GRAD_NORM: lambda s: s.grad_norm,
    Name.DATA_WAIT_SECONDS: lambda s: s.data_wait_seconds,
    Name.SAMPLES_PER_SECOND: lambda s: s.samples_per_second,
    Name.TOKENS_PER_SECOND: lambda s: s.tokens_per_second or None,
    Name.LAST_STEP_TIMESTAMP: lambda s: s.last_step_at or None,
    Name.RESTORED_STEP: lambda s: s.restored_step,
    Name.PROGRESS: lambda s: s.progress,
    Name.ETA: lambda s: s.eta_seconds if s.eta_seconds >= 0 else None,
    Name.WORLD_SIZE: lambda s: s.world_size,
    Name.CHECKPOINT_STEP: lambda s: s.checkpoint_step if s.checkpoint_step >= 0 else None,
    Name.CHECKPOINT_TIMESTAMP: lambda s: s.checkpoint_at or None,
    Name.CHECKPOINT_STALL_SECONDS: lambda s: s.checkpoint_stall_seconds,
    Name.CHECKPOINT_SECONDS: lambda s: s.checkpoint_seconds,
    Name.CHECKPOINT_INTERVAL_SECONDS: lambda s: s.checkpoint_interval_seconds or None,
    Name.CHECKPOINTS: lambda s: s.checkpoints,
    Name.CHECKPOINT_FAILURES: lambda s: s.checkpoint_failures,
    Name.NONFINITE_STEPS: lambda s: s.nonfinite_steps,
    Name.SAMPLES_SKIPPED: lambda s: s.samples_skipped,
    Name.RANK_STEP: lambda s: s.step,
    Name.RANK_STEP_SECONDS: lambda s: s.step_seconds_sum,
    Name.RANK_DATA_WAIT_SECONDS: lambda s: s.data_wait_seconds,
    Name.RANK_PEER_WAIT_SECONDS: lambda s: s.peer_wait_seconds,
    Name.RANK_LAST_STEP_TIMESTAMP: lambda s: s.last_step_at or None,
    Name.RANK_CHECKPOINT_STALL_SECONDS: lambda s: s.checkpoint_stall_seconds,
    Name.RANK_MEMORY: lambda s: s.memory_bytes,
}


def _of_job(name: Name, snapshot: Snapshot) -> Values:
    if name is Name.PHASE:
        yield from (((phase,), float(phase == snapshot.phase)) for phase in PHASES)
    elif name is Name.METRIC:
        for key in sorted(snapshot.metrics)[:MAX_METRICS]:
            split, _, metric = key.partition("/")
            yield (metric or split, split if metric else ""), snapshot.metrics[key]
    elif name is Name.LOSS:
        if snapshot.loss is not None:
            yield ("train",), snapshot.loss
        if "val/loss" in snapshot.metrics:
            yield ("val",), snapshot.metrics["val/loss"]
    elif (value := _PLAIN[name](snapshot)) is not None:
        yield (), value


def _of_ranks(series: Series, ranks: list[Rank], now: float) -> Values:
    for rank in ranks:
        if series.name is Name.RANK_UP:
            yield (str(rank.rank),), float(rank.is_alive)
        elif (snapshot := _fresh(rank, now, series.name)) and (value := _PLAIN[series.name](snapshot)) is not None:
            yield (str(rank.rank),), value


def _fresh(rank: Rank | None, now: float, name: Name) -> Snapshot | None:
    if rank is None or not rank.is_alive or rank.snapshot is None:
        return None
    return rank.snapshot if name in _TIMES or now - rank.seen <= STALE_SECONDS else None


def _family(series: Series, values: Values) -> Iterator[Metric]:
    kind = CounterMetricFamily if series.kind == "counter" else GaugeMetricFamily
    family = kind(series.name, series.help, labels=series.labels)
    for labels, value in values:
        family.add_metric(labels, value)
    if family.samples:
        yield family


def _histogram(series: Series, snapshot: Snapshot) -> Metric:
    total, buckets = 0.0, []
    for bound, count in zip((*map(str, STEP_BUCKETS), "+Inf"), snapshot.step_counts, strict=True):
        total += count
        buckets.append((bound, total))
    return HistogramMetricFamily(series.name, series.help, buckets=buckets, sum_value=snapshot.step_seconds_sum)


def _info(series: Series, values: tuple[str, ...]) -> Metric:
    family = InfoMetricFamily(series.name.removesuffix("_info"), series.help)
    family.add_metric((), dict(zip(series.labels, values, strict=True)))
    return family
