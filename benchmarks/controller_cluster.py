"""What the controller does in a real cluster: a real API server, the real operator, and 5,000 pods on kwok's nodes.

Behind these pods there are no launchers. All of them are silent, which is what a broken network looks like: the controller
holds still about hangs, as it must, and goes on asking; what fails is seen by its pod.
"""

import _cluster_place  # noqa: I001  -- first: it says where that cluster is

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import _cluster_audit as audit
import _cluster_jobs as jobs
from _cluster_gangs import Failure, Gangs
from _controller_process import Process, Used, controller
from _harness import Row, publish

from hack.cluster import controller as account
from hack.cluster import fleet, network
from hack.cluster.layout import ADMIN
from ktrain.cluster import Cluster

AGAIN: Final = 4  # of so many jobs that fail there is one that fails again, and whose gang is restarted
START_SECONDS: Final = 1200.0
QUIET_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Size:
    """Of the cluster, and of the run. In seconds, where it does not say otherwise."""

    jobs: int
    nodes: int
    rounds: int  # of first syncs
    rest: float
    failing: float
    rate: float  # failures per second
    takeover: float

    @property
    def pods(self) -> int:
        """Of all jobs."""
        return self.jobs * jobs.PODS_PER_JOB


FULL: Final = Size(jobs=1000, nodes=60, rounds=3, rest=30, failing=50, rate=2, takeover=40)
QUICK: Final = Size(jobs=60, nodes=5, rounds=1, rest=3, failing=6, rate=2, takeover=10)


def main() -> None:
    """One cluster for everything; SystemExit with a sentence where there can be none."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--down", action="store_true", help="end what a run that was killed has left")
    parsed = parser.parse_args()
    if missing := _missing():
        print(f"controller_cluster: left out: {missing}", file=sys.stderr)
    elif parsed.down:
        fleet.down()
    else:
        with cluster(QUICK if parsed.quick else FULL) as (size, folder):
            run(size, folder)


@contextmanager
def cluster(size: Size) -> Iterator[tuple[Size, Path]]:
    """Up, and this process in its network; gone afterwards, also when somebody ends us."""
    if fleet.is_up():
        raise SystemExit(f"controller_cluster: {fleet.TAKEN}; if no other run is going on, `--down` ends it")
    with _cluster_place.taken_down("controller_cluster", fleet.down):
        fleet.up(size.nodes)
        account.install()
        _point_here()
        with tempfile.TemporaryDirectory() as name:
            shutil.copy(account.kubeconfig(), Path(name) / "kubeconfig")
            yield size, Path(name)


def run(size: Size, folder: Path) -> None:
    """All phases, and the table."""
    core = sorted(os.sched_getaffinity(0))[-1]
    client = Cluster.connect()
    gangs = Gangs(client, size.jobs)
    filled = fill(client, gangs, size)
    with ended() as running:
        synced = [first_sync(folder / f"sync-{number}", core) for number in range(size.rounds)]
        running.append(leader := lead(folder / "leader", core))
        rows = [*of_sync(filled, synced), *of_rest(leader, size), *of_failures(gangs, leader, size)]
        running.append(second := ready(folder / "second", core))
        rows += [*of_takeover(gangs, leader, second, size), *of_doubles()]
    publish(
        "controller_cluster",
        rows,
        note=f"{size.jobs} jobs, {size.pods} pods on {size.nodes} nodes of kwok's; etcd, API server, scheduler and operator on the "
        f"same cores; the controller has one of them; {size.rate:g} failures/s for {size.failing:g} s, of every {AGAIN}th "
        "job two; default flags; all launchers silent",
    )


@contextmanager
def ended() -> Iterator[list[Process]]:
    """Those that are put there do not outlive us."""
    found: list[Process] = []
    try:
        yield found
    finally:
        for process in found:
            process.end()


# -- the cluster fills -------------------------------------------------------------------------------------------------
def fill(client: Cluster, gangs: Gangs, size: Size) -> float:
    """Makes all jobs; returns the seconds until all their pods run."""
    begun = time.monotonic()
    jobs.create(client, size.jobs)
    print(f"  {size.jobs} jobs made after {time.monotonic() - begun:.0f} s", flush=True)
    gangs.wait(size.pods, START_SECONDS)
    print(f"  {size.pods} pods run after {time.monotonic() - begun:.0f} s", flush=True)
    return time.monotonic() - begun


# -- first sync --------------------------------------------------------------------------------------------------------
def first_sync(folder: Path, core: int) -> tuple[Used, float]:
    """Measured, with its CPU seconds, and ended."""
    process = controller(folder, core)
    try:
        found, busy = process.wait_until_ready(), process.cpu_seconds
    finally:
        process.end()
    print(f"  first sync {found.seconds:.1f} s, {busy:.1f} s of CPU, {found.mib:.0f} MiB", flush=True)
    return found, busy


def ready(folder: Path, core: int) -> Process:
    """One that knows everything."""
    process = controller(folder, core)
    process.wait_until_ready()
    return process


def lead(folder: Path, core: int) -> Process:
    """One that leads."""
    process = ready(folder, core)
    process.wait(lambda: "event=leads " in process.told)
    return process


def of_sync(filled: float, synced: Sequence[tuple[Used, float]]) -> list[Row]:
    """Median times, and the worst memory. What the rest of the machine does moves only the first of them."""
    seconds = statistics.median(it.seconds for it, _ in synced)
    mib = max(it.mib for it, _ in synced)
    return [
        Row("jobs made -> all pods run, s", filled, "s"),
        Row("from the start until ready, s", seconds, "s", goal="<= 15 s", holds=seconds <= 15),
        Row("  CPU time, s", statistics.median(busy for _, busy in synced), "s"),
        Row("  peak memory, MiB", mib, "MiB", goal="<= 400 MiB", holds=mib <= 400),
    ]


def of_rest(leader: Process, size: Size) -> list[Row]:
    """Nothing happens."""
    begun, since, used = time.monotonic(), time.time(), leader.cpu_seconds
    time.sleep(size.rest)
    percent = 100 * (leader.cpu_seconds - used) / (time.monotonic() - begun)
    requests = len(audit.asked(since)) * 60 / size.rest
    return [Row("CPU at rest, %", percent, "%"), Row("API requests at rest, per minute", requests, "")]


# -- failures ----------------------------------------------------------------------------------------------------------
def of_failures(gangs: Gangs, leader: Process, size: Size) -> list[Row]:
    """Pods fail; the operator replaces one, or the controller all of its gang."""
    since = time.time()
    failures = gangs.fail(size.failing, rate=size.rate, again=AGAIN)
    gangs.wait_for(failures)
    time.sleep(QUIET_SECONDS)
    requests = audit.asked(since)
    print(f"  requests during {len(failures)} failures: {audit.counted(requests)}", flush=True)
    asked = sum(it.resource != "leases" for it in requests)
    return [
        *of_decisions(failures, requests),
        *of_wholeness("pod replaced", [it for it in failures if not it.is_second]),
        *of_wholeness("gang restarted", [it for it in failures if it.is_second]),
        Row("API requests per failure, without the lease's", asked / len(failures), ""),
        Row("peak memory by then, MiB", leader.peak_mib, "MiB"),
    ]


def of_decisions(failures: Sequence[Failure], requests: Sequence[audit.Asked]) -> list[Row]:
    """From the moment at which a pod is said to have failed, until the job is written to."""
    found = [audit.first_write(requests, it.job, it.at) for it in failures]
    waits = [1e3 * (at - it.at) for at, it in zip(found, failures, strict=True) if at is not None]
    p99, forgotten = statistics.quantiles(waits, n=100, method="inclusive")[98], len(failures) - len(waits)
    return [
        Row("failure -> its decision arrives, ms, median", statistics.median(waits), "ms"),
        Row("  p99", p99, "ms", goal="<= 1000 ms", holds=p99 <= 1000),
        Row("  worst", max(waits), "ms"),
        Row(f"  not decided about, of {len(failures)}", forgotten, "", goal="0", holds=not forgotten),
    ]


def of_wholeness(what: str, failures: Sequence[Failure]) -> list[Row]:
    """Until the gang runs again."""
    taken = [it.whole_at - it.at for it in failures if it.whole_at is not None]
    open_ = len(failures) - len(taken)
    return [
        Row(f"failure -> {what}, s, median", statistics.median(taken), "s"),
        Row("  worst", max(taken), "s"),
        Row(f"  not whole again, of {len(failures)}", open_, "", goal="0", holds=not open_),
    ]


# -- change of the leader ----------------------------------------------------------------------------------------------
def of_takeover(gangs: Gangs, leader: Process, second: Process, size: Size) -> list[Row]:
    """The leader is killed as soon as it has begun an attempt, while a second replica stands by."""
    since, killed = time.time(), list[float]()

    def kill() -> None:
        if not killed:
            leader.end()
            killed.append(time.time())

    gangs.on_attempt = kill
    failures = gangs.fail(size.takeover, rate=size.rate, again=AGAIN, is_led=False)
    gangs.wait_for(failures)
    second.wait(lambda: "event=leads " in second.told)
    time.sleep(QUIET_SECONDS)
    gangs.wait(size.pods, START_SECONDS)
    requests = audit.asked(since)
    acted = next(it.at for it in requests if it.is_write and it.at > killed[0]) - killed[0]
    left = [it for it in failures if audit.first_write(requests, it.job, it.at) is None]
    for it in left:
        print(f"  not decided about: {it}, {it.at - killed[0]:.1f} s after the kill", flush=True)
    forgotten = len(left)
    return [
        Row("leader killed -> the second acts, s", acted, "s", goal="<= 20 s", holds=acted <= 20),
        Row(f"  not decided about, of {len(failures)}", forgotten, "", goal="0", holds=not forgotten),
    ]


def of_doubles() -> list[Row]:
    """Of the whole run, both replicas together."""
    requests = audit.asked()
    deleted, begun = audit.deletes(requests), audit.attempts(requests)
    twice = sum(number - 1 for number in (*deleted.values(), *begun.values()))
    return [Row(f"done twice, of {len(deleted)} deletes, {len(begun)} attempts", twice, "", goal="0", holds=not twice)]


def _point_here() -> None:
    """This process, and those that it starts, into that network."""
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        os.environ.pop(name, None)
    os.environ["KUBECONFIG"] = str(ADMIN)
    network.enter()


def _missing() -> str:
    if platform.system() != "Linux" or os.geteuid() != 0:
        return "its cluster needs Linux and root"
    absent = [it for it in ("go", "ip", "nsenter", "openssl", "curl") if shutil.which(it) is None]
    return f"its cluster needs {', '.join(absent)}; `make cluster-setup` installs them" if absent else ""


if __name__ == "__main__":
    main()
