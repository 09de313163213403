"""Every word that crosses a process boundary: labels, environment, exit codes, storage keys, metric names."""

from enum import IntEnum, StrEnum
from typing import Final

API_VERSION: Final = "ktrain.dev/v1"
KIND: Final = "TrainingJob"

# -- Kubernetes labels and annotations ---------------------------------------------------------------------------
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_JOB: Final = "ktrain.dev/job"
ANNOTATION_ATTEMPT: Final = "ktrain.dev/attempt"
ANNOTATION_SUBMITTED: Final = "ktrain.dev/submitted"  # Unix seconds; its time is counted from then
ANNOTATION_SPEC_HASH: Final = "ktrain.dev/spec-hash"
ANNOTATION_STATE: Final = "ktrain.dev/state"
ANNOTATION_POLICY: Final = "ktrain.dev/policy"  # what the controller has to know of the spec, as JSON
ANNOTATION_REQUEST: Final = "ktrain.dev/request"
ANNOTATION_PAUSE: Final = "ktrain.dev/pause"  # of a Workload: which pause of a controller made it inactive
LABEL_REPLICA_INDEX: Final = "training.kubeflow.org/replica-index"  # the operator's, our node rank
LABEL_QUEUE: Final = "kueue.x-k8s.io/queue-name"  # of a job that Kueue admits: its LocalQueue
LABEL_JOB_UID: Final = "kueue.x-k8s.io/job-uid"  # Kueue's, of a Workload: whose it is

# -- Environment of a launcher (rendered into the pod, or set by `ktrain run`) -------------------------------------
ENV_SPEC: Final = "KTRAIN_SPEC"  # path of the resolved spec, one JSON document
ENV_NODE_RANK: Final = "KTRAIN_NODE_RANK"
ENV_NUM_NODES: Final = "KTRAIN_NUM_NODES"
ENV_NPROC: Final = "KTRAIN_NPROC"
ENV_RDZV_HOST: Final = "KTRAIN_RDZV_HOST"
ENV_RDZV_PORT: Final = "KTRAIN_RDZV_PORT"
ENV_ATTEMPT: Final = "KTRAIN_ATTEMPT"
ENV_SUBMITTED: Final = "KTRAIN_SUBMITTED"  # Unix seconds; empty: unknown
ENV_RUN: Final = "KTRAIN_RUN"  # uuid of the run to resume or begin; empty: the job's current one
ENV_METRICS_PORT: Final = "KTRAIN_METRICS_PORT"
ENV_SCRATCH: Final = "KTRAIN_SCRATCH"  # writable folder of this launcher: code, logs, sockets
ENV_TERMINATION_LOG: Final = "KTRAIN_TERMINATION_LOG"
ENV_STORAGE_URL: Final = "KTRAIN_STORAGE_URL"  # overrides spec.storage.url (an absolute path for file://)
ENV_BIND: Final = "KTRAIN_BIND"  # address that the launcher's servers bind; empty: all of them
ENV_REQUEST: Final = "KTRAIN_REQUEST"  # file with the pod's annotation of that name; empty: nobody asks
ENV_CODE: Final = "KTRAIN_CODE"  # sha256 of the code archive in storage; empty: spec.code.dir is used in place

# -- Environment of a rank, on top of what torchrun gives (RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, ...) ---------
ENV_EPOCH: Final = "KTRAIN_EPOCH"
ENV_MEMORY: Final = "KTRAIN_MEMORY"  # paths of files in memory that outlive the rank, with commas; empty: none
ENV_UNSTEADY: Final = "KTRAIN_UNSTEADY"  # file that says when storage fails on purpose (ktrain chaos); empty: never
ENV_SNAPSHOT_SOCKET: Final = "KTRAIN_SNAPSHOT_SOCKET"
ENV_ERROR_FILE: Final = "KTRAIN_ERROR_FILE"

SCRATCH_FOLDERS: Final = {
    "HOME": "home",
    "XDG_CACHE_HOME": "cache",
    "HF_HOME": "cache/huggingface",
    "TRITON_CACHE_DIR": "cache/triton",
    "TORCHINDUCTOR_CACHE_DIR": "cache/inductor",
    "MPLCONFIGDIR": "cache/matplotlib",
    "TMPDIR": "tmp",
}
"""Variables that name a folder below scratch, because a pod's root file system is read-only; its launcher makes them."""

TERMINATION_LOG: Final = "/dev/termination-log"
DEFAULT_RDZV_PORT: Final = 23456
DEFAULT_METRICS_PORT: Final = 9400


class Exit(IntEnum):
    """Exit codes of ranks and launchers; below 128 nobody retries (restartPolicy ExitCode reads them so)."""

    DONE = 0
    SPEC = 64  # the spec is wrong
    BUILD = 65  # user code cannot be imported or built
    DATA = 66  # data is missing
    EXHAUSTED = 69  # given up: too many failures since the newest commit
    USER = 70  # user code failed while training
    FULL = 73  # storage has no room for the last checkpoint
    NONFINITE = 76  # the loss is not finite
    KILLED = 137  # SIGKILL, usually out of memory
    PREEMPTED = 143  # SIGTERM, after a committed checkpoint
    PEER = 200  # a peer or the network was lost
    STORAGE = 201  # storage failed
    HANG = 202  # no step within the limit; killed by the watchdog
    MEMBERSHIP = 203  # the gang changes: stop here, start again at the next epoch

    @property
    def is_permanent(self) -> bool:
        """Whether trying again cannot help."""
        return self in PERMANENT


PERMANENT: Final = frozenset({Exit.SPEC, Exit.BUILD, Exit.DATA, Exit.EXHAUSTED, Exit.USER, Exit.FULL, Exit.NONFINITE})


class CliExit(IntEnum):
    """Exit codes of the `ktrain` command line (docs/cli.md publishes the table)."""

    OK = 0
    FAILED = 1
    USAGE = 2
    SPEC = 3
    AUTH = 4
    NOT_FOUND = 5
    CONFLICT = 6
    UNREACHABLE = 7
    TIMEOUT = 8
    JOB_FAILED = 9
    PREEMPTED = 10
    INTERRUPTED = 130


# -- Storage keys, below <url>/<namespace>/<job>/ ------------------------------------------------------------------
KEY_RUN: Final = "RUN"  # names the job's current run
KEY_HEAD: Final = "HEAD"  # one per run: claimed epoch and newest commit
KEY_SPEC: Final = "spec.json"
KEY_MANIFEST: Final = "manifest.json"
DIR_METRICS: Final = "metrics"  # JSON lines, one file per (attempt, epoch)
DIR_STATE: Final = "state"  # verdicts, progress, timeline
DIR_READERS: Final = "readers"  # <until, Unix seconds>-<id>/<manifest>: who reads what of the run
DIR_TENSORBOARD: Final = "tensorboard"
DIR_TRACKERS: Final = "state/trackers"  # one JSON per tracker that names its runs itself: mlflow.json
DIR_WANDB: Final = "wandb"
DIR_DEBUG: Final = "debug"  # batches that were kept for a look
DIR_PROFILES: Final = "profiles"  # step-…/rank-….trace.json.gz, and what was summed up of it
DIR_PREDICTIONS: Final = "predictions"  # <split>/step-…/<epoch of the gang>/rank-….parquet
KEY_DONE: Final = "state/done.json"  # completion marker: a launcher that finds it exits 0
DIR_CODE: Final = "code"  # below the job, shared by its runs: <sha256>.tar.gz
DIR_ANSWERS: Final = "state/answers"  # one JSON per request and node
DIR_EPOCHS: Final = "state/epochs"  # one JSON per epoch of the gang
DIR_TIME: Final = "state/time"  # where the job's time went: one JSON per launcher of node 0


class Metric(StrEnum):
    """Names of the Prometheus series that a pod serves; docs/metrics.md has the table."""

    STEP = "ktrain_step"
    TOTAL_STEPS = "ktrain_total_steps"
    SAMPLES = "ktrain_samples_total"
    TOKENS = "ktrain_tokens_total"
    DATA_EPOCH = "ktrain_data_epoch"
    LOSS = "ktrain_loss"
    METRIC = "ktrain_metric"
    LEARNING_RATE = "ktrain_learning_rate"
    GRAD_NORM = "ktrain_grad_norm"
    STEP_SECONDS = "ktrain_step_seconds"
    DATA_WAIT_SECONDS = "ktrain_data_wait_seconds_total"
    SAMPLES_PER_SECOND = "ktrain_samples_per_second"
    TOKENS_PER_SECOND = "ktrain_tokens_per_second"
    PHASE = "ktrain_phase"
    LAST_STEP_TIMESTAMP = "ktrain_last_step_timestamp_seconds"
    RESTORED_STEP = "ktrain_restored_step"
    PROGRESS = "ktrain_progress_ratio"
    ETA = "ktrain_eta_seconds"
    WORLD_SIZE = "ktrain_world_size"
    CHECKPOINT_STEP = "ktrain_checkpoint_last_step"
    CHECKPOINT_TIMESTAMP = "ktrain_checkpoint_last_timestamp_seconds"
    CHECKPOINT_STALL_SECONDS = "ktrain_checkpoint_stall_seconds_total"
    CHECKPOINT_SECONDS = "ktrain_checkpoint_seconds_total"
    CHECKPOINT_INTERVAL_SECONDS = "ktrain_checkpoint_interval_seconds"
    CHECKPOINTS = "ktrain_checkpoints_total"
    CHECKPOINT_FAILURES = "ktrain_checkpoint_failures_total"
    NONFINITE_STEPS = "ktrain_nonfinite_steps_total"
    SAMPLES_SKIPPED = "ktrain_samples_skipped_total"
    RANK_UP = "ktrain_rank_up"
    RANK_STEP = "ktrain_rank_step"
    RANK_STEP_SECONDS = "ktrain_rank_step_seconds_total"
    RANK_DATA_WAIT_SECONDS = "ktrain_rank_data_wait_seconds_total"
    RANK_PEER_WAIT_SECONDS = "ktrain_rank_peer_wait_seconds_total"
    RANK_LAST_STEP_TIMESTAMP = "ktrain_rank_last_step_timestamp_seconds"
    RANK_CHECKPOINT_STALL_SECONDS = "ktrain_rank_checkpoint_stall_seconds_total"
    RANK_MEMORY = "ktrain_rank_memory_bytes"
    RANKS_UP = "ktrain_ranks_up"
    RESTARTS = "ktrain_restarts_total"
    RANK_EXITS = "ktrain_rank_exits_total"
    RENDEZVOUS_SECONDS = "ktrain_rendezvous_seconds"
    STATE = "ktrain_launcher_state"
    ATTEMPT = "ktrain_attempt"
    GANG_EPOCH = "ktrain_gang_epoch"
    SNAPSHOTS_REJECTED = "ktrain_snapshots_rejected_total"
    PRODUCTIVE_SECONDS = "ktrain_productive_seconds_total"
    BADPUT_SECONDS = "ktrain_badput_seconds_total"
    UNCOMMITTED_SECONDS = "ktrain_uncommitted_seconds"
    JOB_INFO = "ktrain_job_info"
    BUILD_INFO = "ktrain_build_info"
