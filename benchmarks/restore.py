"""How fast does a checkpoint come back? The same state, server and link as checkpoint.py, always SeaweedFS.

python benchmarks/restore.py [--quick] [--ways ktrain "dcp s3tc"]
"""

import argparse
import statistics
import sys
from typing import Any, Final

from _checkpoint_paths import WAYS
from _checkpoint_place import RANKS, measure
from _harness import Row, publish

OURS: Final = ("ktrain", "ktrain, boto3")
PEERS: Final = ("torch.save", "lightning", "dcp s3fs", "dcp s3tc")
GOALS: Final = {("ktrain", "dcp s3fs"): 30.0, ("ktrain", "dcp s3tc"): 1.1}  # at least so many times a peer's MiB/s
FETCHED: Final = 1.05  # bytes fetched for each byte of the checkpoint


def main() -> None:
    """Interleaved rounds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--ways", nargs="*", default=[*OURS, *PEERS], choices=list(WAYS))
    parser.add_argument("--mib", type=int, default=480)
    given = parser.parse_args()
    rounds, times = (1, 2) if given.quick else (3, 3)
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in given.ways}
    for _ in range(rounds):
        for way in given.ways:
            it = measure("restore", way, "seaweedfs", mib=given.mib, times=1 if way == "dcp s3fs" else times)
            fetched = sum(request["bytes_out"] for request in it.requests if request["method"] == "GET")
            found[way].append({**it.found, "fetched": fetched / len(it.found["seconds"]) / it.found["bytes"]})
            print(f"  {way}: {found[way][-1]}", file=sys.stderr, flush=True)
    publish(
        "restore",
        table(found, given.mib),
        note=f"{given.mib} MiB, {RANKS} ranks, SeaweedFS in RAM, 20 ms and 80 MB/s for each connection; "
        f"median of {rounds} interleaved rounds",
    )


def table(found: dict[str, list[dict[str, Any]]], mib: int) -> list[Row]:
    """Ours beside each peer: MiB/s, where more is better."""
    speed = {way: mib / statistics.median(it for run in runs for it in run["seconds"]) for way, runs in found.items()}
    rows = []
    for ours in [way for way in OURS if way in found]:
        for peer in [way for way in found if way not in OURS]:
            least = GOALS.get((ours, peer))
            told = (f">= {least:g}x", speed[ours] >= least * speed[peer]) if least else ("", None)
            rows.append(Row(f"{ours}: restore", speed[ours], "MiB/s", speed[peer], peer, *told))
        ratio = statistics.median(run["fetched"] for run in found[ours])
        rows.append(Row(f"{ours}: bytes fetched / bytes", ratio, "", goal=f"<= {FETCHED}", holds=ratio <= FETCHED))
    return rows


if __name__ == "__main__":
    main()
