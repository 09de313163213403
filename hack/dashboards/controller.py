"""The dashboard of the controller: whether it leads, keeps up and sees everything."""

from typing import Final

from hack.dashboards.board import Board, Choice, Row
from hack.dashboards.panels import Panel, Query

_N: Final = 'namespace=~"$namespace"'
_J: Final = 'ktrain_job=~"$ktrain_job"'
_LEADS: Final = f"on (namespace, instance) ktrain_controller_leader{{{_N}}} == 1"


def _quantile(share: float, name: str) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({name}_bucket{{{_N}}}[$__rate_interval])))"


_NOW: Final = Row(
    "Now",
    (
        Panel(
            title="Who leads", kind="state-timeline", unit="none", width=12, height=6,
            description="1 for the replica that acts. KtrainNoLeader fires when there is none for 5 minutes.",
            queries=(Query(f"max by (instance) (ktrain_controller_leader{{{_N}}})", "{{instance}}"),),
        ),
        Panel(
            title="What it knows", kind="stat", unit="none", width=4, height=6,
            description="Objects in the leader's stores.",
            queries=(
                Query(f"max(ktrain_controller_jobs{{{_N}}} and {_LEADS})", "jobs"),
                Query(f"max(ktrain_controller_pods{{{_N}}} and {_LEADS})", "pods"),
            ),
        ),
        Panel(
            title="Silent launchers", kind="stat", unit="none", width=4, height=6,
            description="Of the jobs that were asked lately. More than the half: it calls no hang and scales nothing, and KtrainFleetSilent fires.",
            queries=(
                Query(f"max(ktrain_controller_silent_launchers{{{_N}}} and {_LEADS})", "silent"),
                Query(f"max(ktrain_controller_asked_launchers{{{_N}}} and {_LEADS})", "asked"),
            ),
        ),
        Panel(
            title="Nodes not ready", kind="stat", unit="none", width=4, height=6,
            description="More than two and more than 55 % of all: it leaves their pods alone, for it is the way to them that is broken.",
            queries=(Query(f"max(ktrain_controller_nodes_not_ready{{{_N}}} and {_LEADS})", "nodes"),),
        ),
    ),
)  # fmt: skip

_DEEDS: Final = Row(
    "What it does",
    (
        Panel(
            title="Decisions by policy", unit="none", is_stacked=True,
            description="docs/controller.md has what each policy does.",
            queries=(
                Query(f"sum by (policy) (increase(ktrain_controller_decisions_total{{{_N}}}[$__rate_interval]))", "{{policy}}"),
            ),
        ),
        Panel(
            title="Time until a failure is known", unit="s",
            description="From a pod's end until it is decided about: median and slow end.",
            queries=(
                Query(_quantile(0.5, "ktrain_controller_fault_detection_seconds"), "median"),
                Query(_quantile(0.9, "ktrain_controller_fault_detection_seconds"), "9 of 10"),
            ),
        ),
        Panel(
            title="Time of a restart", unit="s",
            description="From the decision until the whole gang runs again: image, scheduling and the start of containers included.",
            queries=(
                Query(_quantile(0.5, "ktrain_controller_restart_seconds"), "median"),
                Query(_quantile(0.9, "ktrain_controller_restart_seconds"), "9 of 10"),
            ),
        ),
    ),
)  # fmt: skip

_PACE: Final = Row(
    "Whether it keeps up",
    (
        Panel(
            title="Queue", unit="none", width=6, warn_at=100,
            description="Jobs that wait for the leader to look at them. KtrainWorkqueueBacklog fires above 100.",
            queries=(Query(f"max(ktrain_controller_queue_depth{{{_N}}} and {_LEADS})", "jobs"),),
        ),
        Panel(
            title="Wait in the queue", unit="s", width=6,
            description="From a change until somebody looks at its job.",
            queries=(
                Query(_quantile(0.5, "ktrain_controller_queue_wait_seconds"), "median"),
                Query(_quantile(0.99, "ktrain_controller_queue_wait_seconds"), "99 of 100"),
            ),
        ),
        Panel(
            title="Time of a look", unit="s", width=6,
            description="At one job, with the requests to the API server that follow.",
            queries=(
                Query(_quantile(0.5, "ktrain_controller_reconcile_seconds"), "median"),
                Query(_quantile(0.99, "ktrain_controller_reconcile_seconds"), "99 of 100"),
            ),
        ),
        Panel(
            title="Looks, and those that failed", unit="ops", width=6,
            description="By reason: busy, the API server throttles; cluster, it refuses or is away; bug, ours. KtrainReconcileErrors fires above 5 %.",
            queries=(
                Query(f"sum(rate(ktrain_controller_reconcile_seconds_count{{{_N}}}[$__rate_interval]))", "looks"),
                Query(
                    f"sum by (reason) (rate(ktrain_controller_reconcile_failures_total{{{_N}}}[$__rate_interval]))",
                    "{{reason}}",
                ),
            ),
        ),
    ),
)  # fmt: skip

_EYES: Final = Row(
    "What it sees",
    (
        Panel(
            title="Age of watches", unit="s", width=6, warn_at=150,
            description="Since anything was heard, bookmarks included. KtrainWatchStale fires above 150 s.",
            queries=(Query(f"max by (kind) (ktrain_controller_watch_age_seconds{{{_N}}})", "{{kind}}"),),
        ),
        Panel(
            title="Full lists", unit="none", width=6, is_stacked=True,
            description="After the first: every ten minutes on purpose (resync), all others because a watch broke.",
            queries=(
                Query(f"sum by (reason) (increase(ktrain_controller_watch_relists_total{{{_N}}}[$__rate_interval]))", "{{reason}}"),
            ),
        ),
        Panel(
            title="Objects that could not be read", unit="none", width=6,
            description="They are left out: nothing is decided about them.",
            queries=(
                Query(f"sum by (kind) (increase(ktrain_controller_unreadable_objects_total{{{_N}}}[$__rate_interval]))", "{{kind}}"),
            ),
        ),
        Panel(
            title="Scrapes of launchers", unit="ops", width=6, is_stacked=True,
            description="The controller asks one launcher of each job how it is.",
            queries=(
                Query(f"sum by (outcome) (rate(ktrain_controller_scrapes_total{{{_N}}}[$__rate_interval]))", "{{outcome}}"),
            ),
        ),
    ),
)  # fmt: skip

_JOBS: Final = Row(
    "Jobs, as it sees them",
    (
        Panel(
            title="Attempts", unit="none",
            description="The ten jobs with the most. Each is a restart of the whole gang.",
            queries=(Query(f"topk(10, max by (namespace, ktrain_job) (ktrain_job_attempt{{{_J}}}))", "{{namespace}}/{{ktrain_job}}"),),
        ),
        Panel(
            title="Jobs by state", unit="none", is_stacked=True,
            description="All that there are, ended ones too.",
            queries=(Query(f"sum by (state) (max by (namespace, ktrain_job, state) (ktrain_job_state{{{_J}}}))", "{{state}}"),),
        ),
        Panel(
            title="Jobs whose scaling is frozen", unit="none",
            description="Their autoscale query gives no number. KtrainScaleFrozen fires for each after 15 minutes.",
            queries=(Query(f"max(ktrain_controller_autoscale_held{{{_N}}})", "jobs"),),
        ),
    ),
)  # fmt: skip

CONTROLLER: Final = Board(
    "controller",
    "Controller",
    "The controller: whether it leads, keeps up and sees everything.",
    (
        Choice("namespace", "Namespace of the controller", "ktrain_controller_leader", is_many=True),
        Choice("ktrain_job", "Job", "ktrain_job_state", is_many=True),
    ),
    (_NOW, _DEEDS, _PACE, _EYES, _JOBS),
)
