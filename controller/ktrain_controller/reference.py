"""docs/controller-metrics.md: `python -m ktrain_controller.reference > docs/controller-metrics.md`."""

import sys
from collections.abc import Iterable
from typing import Final

from ktrain_controller.series import OF_JOBS, OWN, STATES, Series

_HEAD: Final = """# Metrics of the controller

At `/metrics` on `--port`. Scrape it with `honorLabels: true`: its series of jobs say themselves whose they are.

This file is made from the code: `python -m ktrain_controller.reference > docs/controller-metrics.md`.
"""
_OF_JOBS: Final = """
From the leader only, so that there is one source. Made at each scrape from what it knows of the cluster, so nothing of it is
lost with a controller. A job that has ended keeps its state, and since when, until its object is gone; the rest ends with it.
"""
_STATES: Final = """
Kueue is not asked: a job of a queue that is suspended is `queued`, also when a user holds it back through its Workload.
`paused` is a controller's own pause; a cancelled job is `failed`.
"""


def render() -> str:
    """The whole page."""
    states = ", ".join(f"`{state}`" for state in STATES)
    return (
        f"{_HEAD}\n## Itself\n\nFrom every replica.\n\n{_table(OWN)}\n## Each job\n{_OF_JOBS}\n{_table(OF_JOBS)}\n"
        f"Values of `state`: {states}.\n{_STATES}"
    )


def _table(rows: Iterable[Series]) -> str:
    return "| name | type | labels | what |\n|---|---|---|---|\n" + "".join(_row(it) for it in rows)


def _row(it: Series) -> str:
    labels = ", ".join(f"`{label}`" for label in it.labels) or "none"
    return f"| `{it.name}` | {it.kind} | {labels} | {it.help} |\n"


if __name__ == "__main__":
    sys.stdout.write(render())
