"""The dashboard of all jobs: goodput, what takes the rest, restarts, the queue, who has the GPUs."""

from typing import Final

from hack.dashboards.board import Board, Choice, Row, Text
from hack.dashboards.panels import Panel, Query

_F: Final = 'namespace=~"$namespace",ktrain_job=~"$ktrain_job"'
_BY: Final = "by (namespace, ktrain_job)"
_GPUS: Final = f"max {_BY} (ktrain_job_gpus{{{_F}}})"
_RUNS: Final = f'max {_BY} (ktrain_job_state{{{_F},state="running"}})'
_HELD: Final = f"{_GPUS} * on (namespace, ktrain_job) {_RUNS}"
_BADPUT: Final = f'ktrain_job:badput_seconds:max{{{_F},reason!="queue"}}'

_NOW: Final = Row(
    "Now",
    (
        Panel(
            title="Jobs", kind="stat", unit="none", width=8, height=5,
            description="By state, as the controller that leads knows them. Jobs that have ended count until they are deleted.",
            queries=(Query(f"sum by (state) (max by (namespace, ktrain_job, state) (ktrain_job_state{{{_F}}}))", "{{state}}"),),
        ),
        Panel(
            title="GPUs in use", kind="stat", unit="none", width=4, height=5,
            description="Asked for by the jobs that run.", queries=(Query(f"sum({_HELD})"),),
        ),
        Panel(
            title="Jobs that wait", kind="stat", unit="none", width=4, height=5,
            description="They should run, and not all of their pods do: created, queued, paused by the controller, or incomplete.",
            queries=(Query(f"sum(max {_BY} (ktrain_job_waiting{{{_F}}}))"),),
        ),
        Panel(
            title="Goodput, 6 h", kind="stat", unit="percentunit", width=4, height=5, maximum=1,
            description="Share of the time in which jobs held their resources that became committed training. Waiting in a queue is left out.",
            queries=(
                Query(
                    f"sum(ktrain_job:goodput:ratio6h{{{_F}}} * ktrain_job:held_seconds:increase6h{{{_F}}})"
                    f" / sum(ktrain_job:held_seconds:increase6h{{{_F}}})"
                ),
            ),
        ),
        Panel(
            title="Cost of badput", kind="stat", unit="currencyUSD", width=4, height=5,
            description="GPU-hours that became no training in the shown time, at the price per GPU-hour that is set above. CPU jobs cost nothing here.",
            queries=(
                Query(
                    f"sum(sum {_BY} (increase({_BADPUT}[$__range])) * on (namespace, ktrain_job)"
                    f" max {_BY} (max_over_time(ktrain_job_gpus{{{_F}}}[$__range]))) / 3600 * $price"
                ),
            ),
        ),
    ),
)  # fmt: skip

_GOODPUT: Final = Row(
    "Goodput",
    (
        Panel(
            title="Goodput by namespace, 6 h", unit="percentunit", width=12, maximum=1,
            description="As above, over time. KtrainGoodputLow fires for a single job below 80 %.",
            queries=(
                Query(
                    f"sum by (namespace) (ktrain_job:goodput:ratio6h{{{_F}}} * ktrain_job:held_seconds:increase6h{{{_F}}})"
                    f" / sum by (namespace) (ktrain_job:held_seconds:increase6h{{{_F}}})",
                    "{{namespace}}",
                ),
            ),
        ),
        Panel(
            title="Badput by reason", unit="none", width=12, is_stacked=True,
            description="How many jobs are doing something else than training that will count; docs/runbooks.md#ktraingoodputlow explains each reason.",
            queries=(Query(f"sum by (reason) (rate(ktrain_badput_seconds_total{{{_F}}}[$__rate_interval]))", "{{reason}}"),),
        ),
    ),
)  # fmt: skip

_RESTARTS: Final = Row(
    "Restarts",
    (
        Panel(
            title="Restarts in place, by cause", unit="none", is_stacked=True,
            description="Ranks that launchers have started again without a new pod. Each pod of the gang counts its own.",
            queries=(Query(f"sum by (cause) (increase(ktrain_restarts_total{{{_F}}}[$__rate_interval]))", "{{cause}}"),),
        ),
        Panel(
            title="Most restarts within an hour, by job", unit="none", warn_at=5,
            description="Epochs that a gang has begun, but for changes of its size. KtrainRestartStorm fires above 5.",
            queries=(
                Query(
                    f"topk(10, ktrain_job:gang_epoch:max{{{_F}}} - min_over_time(ktrain_job:gang_epoch:max{{{_F}}}[1h])"
                    f" - (changes(ktrain_job:nodes:max{{{_F}}}[1h]) or 0 * ktrain_job:gang_epoch:max{{{_F}}}))",
                    "{{namespace}}/{{ktrain_job}}",
                ),
            ),
        ),
        Panel(
            title="What the controller decided", unit="none", is_stacked=True,
            description="By policy: failure, node, hang, start, release and so on; docs/controller.md has what each does.",
            queries=(
                Query("sum by (policy) (increase(ktrain_controller_decisions_total[$__rate_interval]))", "{{policy}}"),
            ),
        ),
    ),
)  # fmt: skip

_QUEUE: Final = Row(
    "Queue",
    (
        Panel(
            title="Jobs by state", unit="none", is_stacked=True,
            description="Those that have not ended.",
            queries=(
                Query(
                    "sum by (state) (max by (namespace, ktrain_job, state)"
                    f' (ktrain_job_state{{{_F},state!~"succeeded|failed"}}))',
                    "{{state}}",
                ),
            ),
        ),
        Panel(
            title="Longest waits", unit="s", warn_at=1800,
            description="The ten jobs that have waited for longest in their state; 0 for a job that runs. KtrainPending fires after 30 minutes.",
            queries=(
                Query(
                    f"topk(10, (time() - max {_BY} (ktrain_job_state_since_timestamp_seconds{{{_F}}}))"
                    f" * max {_BY} (ktrain_job_waiting{{{_F}}}))",
                    "{{namespace}}/{{ktrain_job}}",
                ),
            ),
        ),
        Panel(
            title="GPUs that are waited for", unit="none", is_stacked=True,
            description="Asked for by jobs that wait, by namespace.",
            queries=(Query(f"sum by (namespace) ({_GPUS} * max {_BY} (ktrain_job_waiting{{{_F}}}))", "{{namespace}}"),),
        ),
    ),
)  # fmt: skip

_SHARE: Final = Row(
    "GPUs",
    (
        Panel(
            title="GPUs in use, by namespace", unit="none", is_stacked=True,
            description="Asked for by the jobs that run.",
            queries=(Query(f"sum by (namespace) ({_HELD})", "{{namespace}}"),),
        ),
        Panel(
            title="Share of the GPUs in use", kind="bargauge", unit="percentunit", maximum=1,
            description="Each namespace's part of the GPUs that jobs of ktrain hold now.",
            queries=(Query(f"sum by (namespace) ({_HELD}) / on () group_left () sum({_HELD})", "{{namespace}}"),),
        ),
        Panel(
            title="GPUs that work, by job", unit="percentunit", maximum=1,
            description="Share of the time in which anything ran on the GPU, mean of the job's; needs DCGM's exporter. KtrainGpuIdle fires below 5 %.",
            queries=(
                Query(
                    f"avg {_BY} (DCGM_FI_PROF_GR_ENGINE_ACTIVE * on (namespace, pod) group_left (ktrain_job)"
                    f" max by (namespace, pod, ktrain_job) (ktrain_ranks_up{{{_F}}} > bool -1))",
                    "{{namespace}}/{{ktrain_job}}",
                ),
            ),
        ),
        Panel(
            title="Pods in use, by namespace", unit="none", is_stacked=True,
            description="Asked for by the jobs that run, with or without GPUs.",
            queries=(
                Query(
                    f"sum by (namespace) (max {_BY} (ktrain_job_nodes{{{_F}}}) * on (namespace, ktrain_job) {_RUNS})",
                    "{{namespace}}",
                ),
            ),
        ),
        Panel(
            title="Jobs that run, and those that are scraped", unit="none",
            description="The second line below the first: Prometheus does not see all launchers. KtrainFleetSilent fires below the half.",
            queries=(Query(f"sum({_RUNS})", "run"), Query(f"count(ktrain_job:ranks_up:sum{{{_F}}})", "scraped")),
        ),
    ),
)  # fmt: skip

FLEET: Final = Board(
    "fleet",
    "Fleet",
    "All jobs: what they make of their time, what they wait for, who has the GPUs.",
    (
        Choice("namespace", "Namespace", "ktrain_job_state", is_many=True),
        Choice("ktrain_job", "Job", 'ktrain_job_state{namespace=~"$namespace"}', is_many=True),
        Text("price", "Price of a GPU-hour", "2"),
    ),
    (_NOW, _GOODPUT, _RESTARTS, _QUEUE, _SHARE),
)
