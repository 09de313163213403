"""A cluster job's storage, reached from here, with this shell's credentials or the job's own."""

import base64
import os
from collections.abc import MutableMapping
from typing import Any, Final

from ktrain import names
from ktrain.cluster import SECRET, Cluster
from ktrain.errors import ClusterError, MissingError, NotFound
from ktrain.history import current_run, job_storage
from ktrain.jobs.find import environment, spec_of
from ktrain.spec import TrainingJob
from ktrain.storage import Storage, scoped

Object = dict[str, Any]
_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def borrow_credentials(
    cluster: Cluster, job: TrainingJob, environ: MutableMapping[str, str] = os.environ
) -> tuple[str, ...]:
    """The job's own, from its Secret, when this shell has none; returns what is to be told. MissingError."""
    secret = job.spec.storage.secret
    if not secret or _KEYS[0] in environ:
        return ()
    where = job.metadata.namespace
    try:
        data = cluster.get(SECRET, where, secret).get("data", {})
    except MissingError:
        raise MissingError(
            f"spec.storage.secret: there is no Secret {secret!r} in namespace {where}; make one with "
            f"`kubectl -n {where} create secret generic {secret} --from-literal=AWS_ACCESS_KEY_ID=… "
            "--from-literal=AWS_SECRET_ACCESS_KEY=…`"
        ) from None
    except ClusterError as error:
        return (f"the Secret {secret!r} cannot be read ({error}); storage is reached with this shell's credentials",)
    environ.update({key: base64.b64decode(data[key]).decode() for key in _KEYS if key in data})
    return ()


def run_storage(cluster: Cluster, job: Object) -> Storage:
    """Of the run that this job works on; NotFound when it has not begun one. ClusterError, StorageError."""
    spec = spec_of(cluster, job)
    borrow_credentials(cluster, spec)
    storage = job_storage(spec)
    run = environment(job).get(names.ENV_RUN) or current_run(storage)
    if not run:
        raise NotFound(f"{storage.url} has no run yet; the job has not got so far")
    return scoped(storage, run)
