"""What does a checkpoint cost? ~840 MiB of DTensors on two gloo ranks, to an S3 server behind a shaped link.

    python benchmarks/checkpoint.py [--quick] [--server seaweedfs|sink] [--ways ktrain "dcp s3tc async"]

True cost = the time that the call to save takes, and by how much the steps beside the upload are slower than idle ones.
`sink` throws large bodies away, so that the client is measured; SeaweedFS hashes them, on the cores that train.
"""

import argparse
import re
import statistics
import sys
from typing import Any, Final

from _checkpoint_paths import WAYS
from _checkpoint_place import RANKS, measure
from _harness import Row, publish

OURS: Final = ("ktrain", "ktrain, boto3")
GOALS: Final = {  # true cost: at most this part of a peer's
    ("ktrain", "torch.save"): 1 / 10,
    ("ktrain", "dcp s3fs async"): 1 / 3,
    ("ktrain", "dcp s3tc async"): 1 / 1.3,
    ("ktrain, boto3", "dcp s3tc async"): 1.3,
}
STALL: Final = 0.1  # seconds for 840 MiB
EXTRA_MIB: Final = 256  # memory beyond two copies
OBJECT_MIB: Final = 16


def main() -> None:
    """Interleaved rounds; medians of all saves but each process' first, and the worst."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--server", choices=["seaweedfs", "sink"], default="seaweedfs")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--mib", type=int, default=840)
    given = parser.parse_args()
    rounds, saves = (1, 3) if given.quick else (3, 4)
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in given.ways}
    for _ in range(rounds):
        for way in given.ways:
            it = measure("save", way, given.server, mib=given.mib, times=saves)
            of_saves = [it for it in it.requests if way not in OURS or re.search("/step-|/HEAD$", it["key"])]
            found[way].append({**it.found, "requests": len(of_saves) / saves})
            print(f"  {way}: {_short(found[way][-1])}", file=sys.stderr, flush=True)
    publish(
        f"checkpoint_{given.server}",
        table(found, given.mib),
        note=f"{given.mib} MiB, {RANKS} ranks, {given.server}, 20 ms and 80 MB/s for each connection; "
        f"median of {rounds} interleaved rounds of {saves - 1} saves after the first",
    )


def table(found: dict[str, list[dict[str, Any]]], mib: int) -> list[Row]:
    """Ours beside each peer."""
    rows = []
    for ours in [way for way in OURS if way in found]:
        for name, worst in (("cost", False), ("cost", True), ("stall", False), ("durable", False)):
            for peer in [way for way in found if way not in OURS]:
                rows.append(_row(found, name, ours, peer, worst=worst))
        first = statistics.median(run["saves"][0]["stall"] for run in found[ours])
        stall = _figure(found[ours], "stall", worst=False)
        rows.append(Row(f"{ours}: stall", stall, "s", goal=f"<= {STALL}", holds=stall <= STALL))
        rows.append(
            Row(f"{ours}: stall of the first save", first, "s", stall, "later ones", "<= 1.5x", first <= 1.5 * stall)
        )
        extra = max(run["extra_mib"] for run in found[ours])
        most = 2 * mib / RANKS + EXTRA_MIB
        rows.append(Row(f"{ours}: more memory, a rank", extra, "MiB", goal=f"<= {most:.0f}", holds=extra <= most))
        requests = statistics.median(run["requests"] for run in found[ours])
        most = mib / OBJECT_MIB + 3 * RANKS
        rows.append(Row(f"{ours}: requests for each save", requests, "", goal=f"<= {most:.0f}", holds=requests <= most))
    return rows


def _row(found: dict[str, list[dict[str, Any]]], name: str, ours: str, peer: str, *, worst: bool) -> Row:
    mine, theirs = (_figure(found[way], name, worst=worst) for way in (ours, peer))
    part = GOALS.get((ours, peer)) if name == "cost" and not worst else None
    if name == "durable" and peer == "dcp s3tc async":
        part = 1.0
    label = {"cost": "true cost", "stall": "stall", "durable": "until durable"}[name] + (", worst" if worst else "")
    told = (f"<= {part:.2f}x", mine <= part * theirs) if part else ("", None)
    return Row(f"{ours}: {label}", mine, "s", theirs, peer, *told)


def _figure(runs: list[dict[str, Any]], name: str, *, worst: bool) -> float:
    values = [save[name] for run in runs for save in run["saves"][1:]]
    return max(values) if worst else statistics.median(values)


def _short(run: dict[str, Any]) -> str:
    saves = "; ".join(" ".join(f"{name} {value:.2f}" for name, value in save.items()) for save in run["saves"])
    return f"{saves}; {run['extra_mib']:.0f} MiB more, {run['requests']:.0f} requests for each save"


if __name__ == "__main__":
    main()
