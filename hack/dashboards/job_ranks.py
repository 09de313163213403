"""Of the dashboard of one job: its steps, rank by rank, and who keeps the others waiting."""

from typing import Final

from hack.dashboards.board import Row
from hack.dashboards.panels import Panel, Query

_J: Final = 'namespace="$namespace",ktrain_job="$ktrain_job"'
_RANK_STEP: Final = f"sum by (rank) (rate(ktrain_rank_step_seconds_total{{{_J}}}[$__rate_interval]))"
_RANK_WAIT: Final = f"sum by (rank) (rate(ktrain_rank_peer_wait_seconds_total{{{_J}}}[$__rate_interval]))"

STEPS: Final = Row(
    "Steps, by rank",
    (
        Panel(
            title="Step time of rank 0", unit="s",
            description="Median and slow end, from buckets that grow threefold.",
            queries=(
                Query(
                    f"histogram_quantile(0.5, sum by (le) (rate(ktrain_step_seconds_bucket{{{_J}}}[$__rate_interval])))",
                    "median",
                ),
                Query(
                    f"histogram_quantile(0.99, sum by (le) (rate(ktrain_step_seconds_bucket{{{_J}}}[$__rate_interval])))",
                    "99 of 100",
                ),
            ),
        ),
        Panel(
            title="Step time by rank", unit="s",
            description="Mean. In step with each other all ranks take equally long: who is slow is told by who does not wait, beside this.",
            queries=(
                Query(f"{_RANK_STEP} / (sum by (rank) (rate(ktrain_rank_step{{{_J}}}[$__rate_interval])) > 0)", "rank {{rank}}"),
            ),
        ),
        Panel(
            title="Work by rank", unit="percentunit", maximum=1,
            description="Share of the time of its steps in which a rank does not wait for the others. One line above all others is a straggler.",
            queries=(Query(f"({_RANK_STEP} - {_RANK_WAIT}) / ({_RANK_STEP} > 0)", "rank {{rank}}"),),
        ),
        Panel(
            title="Straggling", unit="none", warn_at=1.5,
            description="The busiest rank's work over the median rank's. KtrainStraggler fires above 1.5, if it costs the others a quarter of their time.",
            queries=(
                Query(f"ktrain_job:rank_busy:max_rate5m{{{_J}}} / (ktrain_job:rank_busy:median_rate5m{{{_J}}} > 0)", "busiest"),
            ),
        ),
        Panel(
            title="Data wait", unit="percentunit", maximum=1, warn_at=0.3,
            description="Share of its steps that rank 0 waits for data. KtrainDataStarved fires above 30 %.",
            queries=(Query(f"ktrain_job:data_wait:ratio_rate5m{{{_J}}}", "rank 0"),),
        ),
        Panel(
            title="Data wait by rank", unit="percentunit",
            description="Share of the time that each rank waits for data.",
            queries=(
                Query(f"sum by (rank) (rate(ktrain_rank_data_wait_seconds_total{{{_J}}}[$__rate_interval]))", "rank {{rank}}"),
            ),
        ),
        Panel(
            title="Memory by rank", unit="bytes",
            description="In use on its device, else of its process.",
            queries=(Query(f"max by (rank) (ktrain_rank_memory_bytes{{{_J}}})", "rank {{rank}}"),),
        ),
        Panel(
            title="Since the last step, by rank", unit="s",
            description="A rank that hangs stays behind the others.",
            queries=(Query(f"time() - max by (rank) (ktrain_rank_last_step_timestamp_seconds{{{_J}}})", "rank {{rank}}"),),
        ),
        Panel(
            title="GPUs that work, by pod", unit="percentunit", maximum=1,
            description="Share of the time in which anything ran on the GPU; needs DCGM's exporter.",
            queries=(
                Query(
                    "avg by (pod) (DCGM_FI_PROF_GR_ENGINE_ACTIVE * on (namespace, pod) group_left ()"
                    f" max by (namespace, pod) (ktrain_ranks_up{{{_J}}} > bool -1))",
                    "{{pod}}",
                ),
            ),
        ),
    ),
)  # fmt: skip
