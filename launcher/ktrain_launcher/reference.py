"""docs/metrics.md, written from the table: `python -m ktrain_launcher.reference > docs/metrics.md`."""

import sys
from typing import Final

from ktrain_launcher.metrics import CLOSED_LABELS, EVERYWHERE, STALE_SECONDS, TABLE, Scope

_OF_PODS: Final = f"""What the launcher knows by itself.

With `spec.metrics.perRank: false` pods other than node 0's serve only
{", ".join(f"`{series.name}`" for series in TABLE if series.name in EVERYWHERE)};
and of these, as of `ktrain_phase`, no values of 0 where there is a label."""
_SCOPES: Final[dict[Scope, tuple[str, str]]] = {
    "job": ("The job", "From rank 0, so only the pod that has it serves them."),
    "rank": ("Each rank", "With `spec.metrics.perRank: true`, from the pod that has the rank."),
    "pod": ("Each pod", _OF_PODS),
}
_HEAD: Final = f"""# Metrics

Every pod of a job serves Prometheus text on `spec.metrics.port` at `/metrics`, from its launcher: it outlives the ranks, so a
rank that dies cannot spoil a scrape. Ranks push small snapshots to it; what a dead rank said last is dropped at once, and
what a living one said is dropped after {STALE_SECONDS:.0f} seconds, except times of events, which stay true.

Units are in the names: seconds, bytes, ratios from 0 to 1. Labels have closed sets of values, except `rank`, the names of
your own evaluation metrics (the first 50), and the identity in `ktrain_job_info`. Namespace and job of a series come from
the scrape's relabelling, not from the pod.

The one to alert on: `time() - ktrain_last_step_timestamp_seconds`.

This file is made from the code: `python -m ktrain_launcher.reference > docs/metrics.md`.
"""


def render() -> str:
    """The whole page."""
    return _HEAD + "".join(_section(scope) for scope in _SCOPES) + _labels()


def _section(scope: Scope) -> str:
    title, note = _SCOPES[scope]
    rows = "".join(
        f"| `{series.name}` | {series.kind} | {', '.join(f'`{label}`' for label in series.labels) or 'none'} | {series.help} |\n"
        for series in TABLE
        if series.scope == scope
    )
    return f"\n## {title}\n\n{note}\n\n| name | type | labels | what |\n|---|---|---|---|\n{rows}"


def _labels() -> str:
    rows = "".join(
        f"| `{name}` | {', '.join(f'`{value}`' for value in values)} |\n" for name, values in CLOSED_LABELS.items()
    )
    return f"\n## Values of labels\n\n| label | values |\n|---|---|\n{rows}"


if __name__ == "__main__":
    sys.stdout.write(render())
