"""The history of a job in storage: its runs, and for each run one HEAD that says who may write and what is committed."""

from ktrain.history.head import claim_epoch, commit, drop_commits, mark_done, read_head
from ktrain.history.model import FORMAT, Commit, Head, Token
from ktrain.history.place import job_storage, opener
from ktrain.history.runs import RunInfo, begin_run, current_run, is_run, list_runs

__all__ = [
    "FORMAT",
    "Token",
    "Commit",
    "Head",
    "RunInfo",
    "current_run",
    "begin_run",
    "list_runs",
    "read_head",
    "claim_epoch",
    "commit",
    "drop_commits",
    "mark_done",
    "is_run",
    "job_storage",
    "opener",
]
