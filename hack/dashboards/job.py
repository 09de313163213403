"""The dashboard of one job: progress, steps by rank, checkpoints, what became of its time."""

from typing import Final

from hack.dashboards.board import Annotation, Board, Choice, Row, Text
from hack.dashboards.job_ranks import STEPS
from hack.dashboards.panels import Panel, Query

_J: Final = 'namespace="$namespace",ktrain_job="$ktrain_job"'
_BY: Final = "by (namespace, ktrain_job)"
_GPUS: Final = f"scalar(max(max_over_time(ktrain_job_gpus{{{_J}}}[$__range])))"

_NOW: Final = Row(
    "Now",
    (
        Panel(
            title="State", kind="stat", unit="none", width=3, height=4,
            description="As the controller knows it.",
            queries=(Query(f"max by (state) (ktrain_job_state{{{_J}}})", "{{state}}"),),
        ),
        Panel(
            title="Progress", kind="stat", unit="percentunit", width=3, height=4, maximum=1,
            description="Share of the run that is done.", queries=(Query(f"max(ktrain_progress_ratio{{{_J}}})"),),
        ),
        Panel(
            title="Time left", kind="stat", unit="dtdurations", width=3, height=4,
            description="Estimated from the pace so far.", queries=(Query(f"max(ktrain_eta_seconds{{{_J}}})"),),
        ),
        Panel(
            title="Since the last step", kind="stat", unit="dtdurations", width=3, height=4, warn_at=600,
            description="KtrainJobStalled fires after ten minutes, or ten mean steps where these are longer.",
            queries=(Query(f"time() - ktrain_job:last_step_timestamp_seconds:max{{{_J}}}"),),
        ),
        Panel(
            title="Age of the last commit", kind="stat", unit="dtdurations", width=3, height=4,
            description="Time since the newest checkpoint was committed by this gang.",
            queries=(Query(f"time() - ktrain_job:checkpoint_last_timestamp_seconds:max{{{_J}}}"),),
        ),
        Panel(
            title="Attempt and epoch", kind="stat", unit="none", width=3, height=4,
            description="An attempt is a restart of the whole gang by the controller; an epoch is any start of the ranks together.",
            queries=(
                Query(f"max(ktrain_job_attempt{{{_J}}})", "attempt"),
                Query(f"ktrain_job:gang_epoch:max{{{_J}}}", "epoch"),
            ),
        ),
        Panel(
            title="Ranks", kind="stat", unit="none", width=3, height=4,
            description="Processes that run, and the size of the gang.",
            queries=(
                Query(f"ktrain_job:ranks_up:sum{{{_J}}}", "up"),
                Query(f"max(ktrain_world_size{{{_J}}})", "of"),
            ),
        ),
        Panel(
            title="GPUs", kind="stat", unit="none", width=3, height=4,
            description="That the job asks for.", queries=(Query(f"max(ktrain_job_gpus{{{_J}}})"),),
        ),
        Panel(
            title="What rank 0 does", kind="state-timeline", unit="none", width=24, height=6,
            description="Its phase: 1 for the one that it is in.",
            queries=(Query(f"max by (phase) (ktrain_phase{{{_J}}})", "{{phase}}"),),
        ),
    ),
)  # fmt: skip

_TRAINING: Final = Row(
    "Training",
    (
        Panel(
            title="Loss", unit="none", width=12,
            description="Of the newest logged step, and of the newest evaluation.",
            queries=(Query(f"max by (split) (ktrain_loss{{{_J}}})", "{{split}}"),),
        ),
        Panel(
            title="Metrics of evaluations", unit="none", width=12,
            description="The newest of each.",
            queries=(Query(f"max by (split, name) (ktrain_metric{{{_J}}})", "{{split}}/{{name}}"),),
        ),
        Panel(
            title="Steps done", unit="none", width=6,
            description="A step back is work that was lost and is done again.",
            queries=(
                Query(f"max(ktrain_step{{{_J}}})", "done"),
                Query(f"max(ktrain_restored_step{{{_J}}})", "began at"),
            ),
        ),
        Panel(
            title="Throughput", unit="cps", width=6,
            description="Of all ranks together; tokens are 0 where the task counts none.",
            queries=(
                Query(f"max(ktrain_samples_per_second{{{_J}}})", "samples"),
                Query(f"max(ktrain_tokens_per_second{{{_J}}} or 0 * ktrain_samples_per_second{{{_J}}})", "tokens"),
            ),
        ),
        Panel(
            title="Gradient norm", unit="none", width=6,
            description="Before clipping.", queries=(Query(f"max(ktrain_grad_norm{{{_J}}})", "norm"),),
        ),
        Panel(
            title="Learning rate", unit="none", width=6,
            description="Of the first parameter group.", queries=(Query(f"max(ktrain_learning_rate{{{_J}}})", "rate"),),
        ),
        Panel(
            title="Steps whose loss was not finite", unit="none", width=6,
            description="KtrainLossNotFinite fires at the first.",
            queries=(
                Query(f"sum(increase(ktrain_nonfinite_steps_total{{{_J}}}[$__rate_interval]))", "steps"),
                Query(
                    f"sum(increase(ktrain_samples_skipped_total{{{_J}}}[$__rate_interval]))", "samples that cannot be read"
                ),
            ),
        ),
    ),
)  # fmt: skip

_CHECKPOINTS: Final = Row(
    "Checkpoints",
    (
        Panel(
            title="Age of the last commit, over time", unit="s", width=6,
            description="A saw whose teeth are the interval.",
            queries=(Query(f"time() - ktrain_job:checkpoint_last_timestamp_seconds:max{{{_J}}}", "age"),),
        ),
        Panel(
            title="Training that would be lost", unit="s", width=6,
            description="Since the last commit. KtrainCheckpointStale fires at three usual intervals.",
            queries=(
                Query(f"ktrain_job:uncommitted_seconds:max{{{_J}}}", "uncommitted"),
                Query(f"ktrain_job:checkpoint_interval_seconds:mean1d{{{_J}}}", "usual interval"),
                Query(f"max(ktrain_checkpoint_interval_seconds{{{_J}}})", "interval that auto chose"),
            ),
        ),
        Panel(
            title="Cost of checkpoints", unit="percentunit", width=6,
            description="Share of the time that training stood still for them, and that they took until they were durable.",
            queries=(
                Query(f"sum(rate(ktrain_checkpoint_stall_seconds_total{{{_J}}}[$__rate_interval]))", "stall"),
                Query(f"sum(rate(ktrain_checkpoint_seconds_total{{{_J}}}[$__rate_interval]))", "until durable"),
            ),
        ),
        Panel(
            title="Checkpoints", unit="none", width=6,
            description="Committed and failed. KtrainCheckpointFailing fires when one in five fails.",
            queries=(
                Query(f"sum(increase(ktrain_checkpoints_total{{{_J}}}[$__rate_interval]))", "committed"),
                Query(f"sum(increase(ktrain_checkpoint_failures_total{{{_J}}}[$__rate_interval]))", "failed"),
            ),
        ),
        Panel(
            title="Stall by rank", unit="percentunit", width=12,
            description="Share of the time that checkpoints stop each rank.",
            queries=(
                Query(f"sum by (rank) (rate(ktrain_rank_checkpoint_stall_seconds_total{{{_J}}}[$__rate_interval]))", "rank {{rank}}"),
            ),
        ),
        Panel(
            title="Committed step", unit="none", width=12,
            description="Of the newest commit; what lies between it and the steps done would be done again.",
            queries=(
                Query(f"max(ktrain_checkpoint_last_step{{{_J}}})", "committed"),
                Query(f"max(ktrain_step{{{_J}}})", "done"),
            ),
        ),
    ),
)  # fmt: skip

_TIME: Final = Row(
    "Time and money",
    (
        Panel(
            title="Goodput, 6 h", unit="percentunit", maximum=1,
            description="Share of the time in which the job held its resources that became committed training. KtrainGoodputLow fires below 80 %.",
            queries=(Query(f"ktrain_job:goodput:ratio6h{{{_J}}}", "goodput"),),
        ),
        Panel(
            title="Badput by reason", kind="bargauge", unit="dtdurations",
            description="Within the shown time.",
            queries=(Query(f"sum by (reason) (increase(ktrain_job:badput_seconds:max{{{_J}}}[$__range]))", "{{reason}}"),),
        ),
        Panel(
            title="Cost by what was done", kind="bargauge", unit="currencyUSD",
            description="GPU-hours within the shown time at the price per GPU-hour that is set above. Waiting in a queue costs nothing.",
            queries=(
                Query(f"sum(increase(ktrain_job:productive_seconds:max{{{_J}}}[$__range])) * {_GPUS} / 3600 * $price", "training"),
                Query(
                    f'sum by (reason) (increase(ktrain_job:badput_seconds:max{{{_J},reason!="queue"}}[$__range]))'
                    f" * {_GPUS} / 3600 * $price",
                    "{{reason}}",
                ),
            ),
        ),
    ),
)  # fmt: skip

_ENDS: Final = Row(
    "Restarts",
    (
        Panel(
            title="Restarts in place, by cause", unit="none", is_stacked=True,
            description="Each pod of the gang counts its own.",
            queries=(Query(f"sum by (cause) (increase(ktrain_restarts_total{{{_J}}}[$__rate_interval]))", "{{cause}}"),),
        ),
        Panel(
            title="Ends of ranks, by exit code", unit="none", is_stacked=True,
            description="docs/adr/0010-exit-codes.md has what each means: 137 is SIGKILL, 200 a lost peer.",
            queries=(Query(f"sum by (code) (increase(ktrain_rank_exits_total{{{_J}}}[$__rate_interval]))", "{{code}}"),),
        ),
        Panel(
            title="Time until the gang had met", unit="s",
            description="Mean of the rendezvous of the launchers that run now; the slowest pod decides.",
            queries=(
                Query(
                    f"sum(ktrain_rendezvous_seconds_sum{{{_J}}}) / (sum(ktrain_rendezvous_seconds_count{{{_J}}}) > 0)", "mean"
                ),
            ),
        ),
    ),
)  # fmt: skip

JOB: Final = Board(
    "job",
    "Job",
    "One job: progress, steps by rank, checkpoints, what became of its time and money.",
    (
        Choice("namespace", "Namespace", "ktrain_ranks_up"),
        Choice("ktrain_job", "Job", 'ktrain_ranks_up{namespace="$namespace"}'),
        Text("price", "Price of a GPU-hour", "2"),
    ),
    (_NOW, _TRAINING, STEPS, _CHECKPOINTS, _TIME, _ENDS),
    (
        Annotation("Attempts", f"changes(ktrain_job:attempt:max{{{_J}}}[2m]) > 0", "another attempt", "red"),
        # With the 0 of launchers that have not met yet: a gang that was away for long would have no change within the window.
        Annotation("Epochs", f"changes(max {_BY} (ktrain_gang_epoch{{{_J}}})[2m:]) > 0", "another epoch", "orange"),
    ),
)
