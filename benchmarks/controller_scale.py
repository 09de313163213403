"""Does the controller hold 10,000 jobs? Beside it, kopf and the official client's informer read the same cluster.

The cluster is a fake API server on one core; the controller has the other one to itself. Launchers do not exist, so the
whole fleet is silent, which must neither make the controller act nor make it slow.
"""

import argparse
import os
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from _controller_api import Api
from _controller_process import Process, Used, controller, peer
from _harness import Row, publish

FAILURES: Final = 0.04  # of the events: each of these needs a decision
SLOW: Final = 50.0  # events per second, while something else is measured
TENTHS: Final = 10
SCRAPES: Final = 10
LAG_SECONDS: Final = 0.03  # of pods' watches behind those of jobs, when it is counted what is done twice
KOPF: Final = "kopf, on.event"
INFORMER: Final = "SharedInformer (tenth x10)"


@dataclass(frozen=True, slots=True)
class Size:
    """Of the cluster, and of the run. In seconds, where it does not say otherwise."""

    jobs: int
    nodes: int
    rounds: int  # of first syncs
    rest: float
    load: float
    rate: float  # events per second
    late: float  # after the load, for what is still to come
    takeover: float


FULL: Final = Size(jobs=10_000, nodes=2_000, rounds=3, rest=20, load=60, rate=500, late=10, takeover=40)
QUICK: Final = Size(jobs=500, nodes=100, rounds=1, rest=2, load=6, rate=250, late=2, takeover=24)


def main() -> None:
    """One cluster for everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    size = QUICK if parser.parse_args().quick else FULL
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        api = Api(size.jobs, size.nodes, core=cores[0])
        try:
            run(api, size, Path(name), core=cores[-1])
        finally:
            api.close()


def run(api: Api, size: Size, folder: Path, core: int) -> None:
    """All phases, and the table."""
    cluster = api("describe")
    (folder / "kubeconfig").write_text(cluster["kubeconfig"], encoding="utf-8")
    counts = (size.jobs, cluster["pods"], size.nodes)
    kopf = first_sync(peer("kopf", folder / "kopf", core, *counts))
    informer = first_sync(peer("informer", folder / "informer", core, *counts), times=TENTHS)
    ours = [first_sync(controller(folder / f"sync-{number}", core)) for number in range(size.rounds)]
    leader = controller(folder / "leader", core)
    leader.wait_until_ready()
    rows = [
        *of_sync(ours, kopf, informer),
        *of_scrape(leader),
        *of_load(api, size, leader),
        *of_takeover(api, size, leader, folder, core),
    ]
    publish(
        "controller_scale",
        rows,
        note=f"{size.jobs} jobs, {cluster['pods']} pods of {cluster['pod_bytes'] / 1000:.1f} kB, {size.nodes} nodes; one "
        f"core; {size.rate:.0f} events/s for {size.load:.0f} s, {FAILURES:.0%} of them failures; default flags; "
        "SharedInformer has read a tenth, and what that took beyond its imports counts ten times",
    )


# -- first sync --------------------------------------------------------------------------------------------------------
def first_sync(process: Process, *, times: int = 0) -> Used:
    """Measured, and ended; of what was read from a part of the cluster only, the imports count once."""
    imported = process.wait(lambda: process.has_said("imported")) if times else Used(0, 0)
    found = process.wait_until_ready()
    process.end()
    print(f"  first sync {found.seconds:.1f} s, {found.mib:.0f} MiB", flush=True)
    return found.extrapolated(imported, times) if times else found


def of_sync(ours: Sequence[Used], kopf: Used, informer: Used) -> list[Row]:
    """Median time, and the worst memory."""
    seconds, mib = statistics.median(it.seconds for it in ours), max(it.mib for it in ours)
    return [
        Row("from the start until ready, s", seconds, "s", kopf.seconds, KOPF, "<= 15 s", seconds <= 15),
        Row("from the start until ready, s", seconds, "s", informer.seconds, INFORMER),
        Row("  peak memory, MiB", mib, "MiB", kopf.mib, KOPF, "<= 400 MiB", mib <= 400),
        Row("  peak memory, MiB", mib, "MiB", informer.mib, INFORMER),
    ]


# -- its own metrics ---------------------------------------------------------------------------------------------------
def of_scrape(leader: Process) -> list[Row]:
    """By Prometheus, of the page with all jobs on it."""
    leader.wait(lambda: b"ktrain_job_state" in page(leader))  # as soon as it leads
    took = []
    for _ in range(SCRAPES):
        begun = time.monotonic()
        size = len(page(leader))
        took.append(1e3 * (time.monotonic() - begun))
    worst = max(took)
    return [
        Row("a scrape of /metrics, ms, median", statistics.median(took), "ms"),
        Row("  worst", worst, "ms", goal="<= 1000 ms", holds=worst <= 1000),
        Row("  its page, MB", size / 1e6, "MB"),
    ]


def page(leader: Process) -> bytes:
    """What Prometheus is served."""
    with urllib.request.urlopen(f"http://127.0.0.1:{leader.port}/metrics", timeout=30) as answer:
        found: bytes = answer.read()
    return found


# -- events ------------------------------------------------------------------------------------------------------------
def of_load(api: Api, size: Size, leader: Process) -> list[Row]:
    """At rest, under load, and when all watches have to begin anew."""
    told: dict[str, Any] = {}
    idle = cpu_percent(leader, lambda: time.sleep(size.rest))
    load = {"seconds": size.load, "rate": size.rate, "failures": FAILURES * size.rate}
    busy = cpu_percent(leader, lambda: told.update(api("run", **load)))
    api("run", seconds=size.late, rate=SLOW)
    notes, mib = api("notes"), leader.peak_mib
    api("expire")
    api("run", seconds=size.late, rate=SLOW)
    print(f"  requests during {told['events']} events: {dict(told['requests'])}", flush=True)
    return [
        *of_decisions(notes),
        Row("CPU at rest, 50 silent launchers asked/s, %", idle, "%"),
        Row(f"CPU at {size.rate:.0f} events/s, %", busy, "%"),
        Row("API requests per 1000 events", 1e3 * sum(told["requests"].values()) / told["events"], ""),
        Row("peak memory by then, MiB", mib, "MiB"),
        Row("  when all had to be listed again, MiB", leader.peak_mib, "MiB"),
    ]


def cpu_percent(process: Process, meanwhile: Callable[[], object]) -> float:
    """Of one core."""
    begun, used = time.monotonic(), process.cpu_seconds
    meanwhile()
    return 100 * (process.cpu_seconds - used) / (time.monotonic() - begun)


def of_decisions(notes: dict[str, Any]) -> list[Row]:
    """How long failures waited for theirs."""
    failed, decided = notes["failed"], notes["decided"]
    waits = [1e3 * (decided[mark] - at) for mark, at in failed.items() if mark in decided]
    p99, forgotten = statistics.quantiles(waits, n=100, method="inclusive")[98], len(failed) - len(waits)
    return [
        Row("failure -> its decision arrives, ms, median", statistics.median(waits), "ms"),
        Row("  p99", p99, "ms", goal="<= 1000 ms", holds=p99 <= 1000),
        Row("  worst", max(waits), "ms"),
        Row(f"  not decided about, of {len(failed)}", forgotten, "", goal="0", holds=not forgotten),
    ]


# -- change of the leader ----------------------------------------------------------------------------------------------
def of_takeover(api: Api, size: Size, leader: Process, folder: Path, core: int) -> list[Row]:
    """The leader is killed between an intent and its first delete, while a second replica stands by."""
    second = controller(folder / "second", core)
    second.wait_until_ready()
    before = len(api("notes")["failed"])
    api("be_late", seconds=LAG_SECONDS)
    api("kill_after_intent", victim=leader.pid)
    api("run", seconds=size.takeover, rate=SLOW, failures=FAILURES * SLOW, again=4)
    api("run", seconds=size.late, rate=SLOW)
    leader.end()
    second.end()
    return [*of_change(api("notes"), before), *of_doubles(api("notes"))]


def of_change(notes: dict[str, Any], before: int) -> list[Row]:
    """What the second replica finds undone, and when it is done."""
    killed = next(at for at, what in notes["actions"] if what == "kill")
    leads = next(at for at, _ in notes["holders"] if at > killed)
    acted = next(at for at, _ in notes["actions"] if at > leads) - killed
    since = list(notes["failed"].items())[before:]
    forgotten = [mark for mark, _ in since if mark not in notes["decided"]]
    waited = [notes["decided"][mark] - leads for mark, at in since if killed < at < leads and mark in notes["decided"]]
    return [
        Row("leader killed -> the second acts, s", acted, "s", goal="<= 20 s", holds=acted <= 20),
        Row(f"  has decided about the {len(waited)} failures since, s", leads - killed + max(waited, default=0), "s"),
        Row(f"  not decided about, of {len(since)}", len(forgotten), "", goal="0", holds=not forgotten),
    ]


def of_doubles(notes: dict[str, Any]) -> list[Row]:
    """Of the whole run."""
    deleted, raised = notes["deleted"].values(), notes["raised"].values()
    twice = sum(number - 1 for number in (*deleted, *raised))
    what = f"done twice, of {len(deleted)} deletes, {len(raised)} attempts"
    return [Row(what, twice, "", goal="0", holds=not twice)]


if __name__ == "__main__":
    main()
