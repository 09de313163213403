"""The names of the controller's series: the rows of docs/controller-metrics.md."""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["gauge", "counter", "histogram"]


@dataclass(frozen=True, slots=True)
class Series:
    """One row."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


DECISIONS: Final = Series(
    "ktrain_controller_decisions_total", "counter", "Decisions, by the policy that made them.", ("policy", "deed")
)
FAILURES: Final = Series(
    "ktrain_controller_reconcile_failures_total", "counter", "Looks at a job that failed and are tried again.", ("reason",)
)  # fmt: skip
RECONCILE: Final = Series("ktrain_controller_reconcile_seconds", "histogram", "Time of one look at one job.")
WAITED: Final = Series(
    "ktrain_controller_queue_wait_seconds", "histogram", "From a change until somebody looks at its job."
)
DETECTION: Final = Series(
    "ktrain_controller_fault_detection_seconds", "histogram", "From a pod's end until it is decided about."
)
RESTART: Final = Series(
    "ktrain_controller_restart_seconds", "histogram", "From a restart's decision until the whole gang runs."
)
ODD: Final = Series(
    "ktrain_controller_unreadable_objects_total", "counter", "Objects that could not be read and were left out.", ("kind",)
)  # fmt: skip
LEADER: Final = Series("ktrain_controller_leader", "gauge", "1 while this replica leads.")
SCRAPES: Final = Series(
    "ktrain_controller_scrapes_total", "counter", "Launchers asked for their heartbeat.", ("outcome",)
)
HELD: Final = Series("ktrain_controller_autoscale_held", "gauge", "Jobs whose autoscale query gives no number.")
QUEUE_DEPTH: Final = Series("ktrain_controller_queue_depth", "gauge", "Jobs that wait to be looked at.")
JOBS: Final = Series("ktrain_controller_jobs", "gauge", "Jobs that are known.")
PODS: Final = Series("ktrain_controller_pods", "gauge", "Pods that are known.")
WATCH_AGE: Final = Series("ktrain_controller_watch_age_seconds", "gauge", "Since a watch was heard of.", ("kind",))
RELISTS: Final = Series(
    "ktrain_controller_watch_relists_total", "counter", "Full lists after the first.", ("reason",)
)  # fmt: skip
ASKED: Final = Series("ktrain_controller_asked_launchers", "gauge", "Jobs whose launcher was asked lately.")
SILENT: Final = Series("ktrain_controller_silent_launchers", "gauge", "Of these, jobs whose launcher does not answer.")
NODES_AWAY: Final = Series(
    "ktrain_controller_nodes_not_ready", "gauge", "Nodes that are not ready, as far as it may look."
)

OWN: Final = (
    LEADER, DECISIONS, RECONCILE, FAILURES, QUEUE_DEPTH, WAITED, DETECTION, RESTART, JOBS, PODS, WATCH_AGE, RELISTS, ODD,
    SCRAPES, ASKED, SILENT, HELD, NODES_AWAY,
)  # fmt: skip

_JOB: Final = ("namespace", "ktrain_job")
STATE: Final = Series("ktrain_job_state", "gauge", "1 for the state that the job is in.", (*_JOB, "state"))
STATE_SINCE: Final = Series(
    "ktrain_job_state_since_timestamp_seconds", "gauge", "When the job came into its state.", _JOB
)
WAITING: Final = Series("ktrain_job_waiting", "gauge", "Whether the job should run and not all of its pods do.", _JOB)
ATTEMPT: Final = Series(
    "ktrain_job_attempt", "gauge", "Newest attempt: grows by one with each restart of the whole gang.", _JOB
)
NODES: Final = Series("ktrain_job_nodes", "gauge", "Pods that the job asks for.", _JOB)
GPUS: Final = Series("ktrain_job_gpus", "gauge", "GPUs that the job asks for, all its pods together.", _JOB)
JOB_HELD: Final = Series(
    "ktrain_job_autoscale_held", "gauge", "Whether the autoscale query gives no number, so that nothing is scaled.", _JOB
)  # fmt: skip

OF_JOBS: Final = (STATE, STATE_SINCE, WAITING, ATTEMPT, NODES, GPUS, JOB_HELD)

STATES: Final = ("created", "running", "restarting", "suspended", "queued", "paused", "succeeded", "failed")
