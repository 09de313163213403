"""Whether the cluster, the storage and the code are what one job file needs."""

import ast
from collections.abc import Iterator
from typing import Any

from ktrain.cluster import ACCOUNT, CLAIM, CONFIG_MAP, LOCAL_QUEUE, NODE, POD, SECRET, Cluster, Kind
from ktrain.doctor.check import Check, Verdict
from ktrain.doctor.storage import probe
from ktrain.errors import ForbiddenError, MissingError, NoKindError
from ktrain.history import job_storage
from ktrain.jobs.reach import borrow_credentials
from ktrain.load import Loaded
from ktrain.render import render
from ktrain.spec import TrainingJob
from ktrain.submit.pack import pack
from ktrain.submit.plan import check_storage
from ktrain.units import counted


def needed_objects(cluster: Cluster, job: TrainingJob) -> Iterator[Check]:
    """Secrets, volumes, queue and account that the pods name."""
    where = job.metadata.namespace
    absent = [f"{kind.name} {name}" for kind, name in _named(job) if not _is_there(cluster, kind, where, name)]
    for what in absent:
        yield Check("objects", Verdict.FAIL, f"there is no {what} in namespace {where}")
    if not absent:
        yield Check("objects", Verdict.OK, f"all {len(list(_named(job)))} objects that the pods name are there")


def pods(cluster: Cluster, job: TrainingJob) -> Iterator[Check]:
    """Whether a pod of this job would be let in: the API server's own answer, nothing is made."""
    try:
        cluster.create(POD, pod_of(job), dry_run=True)
    except ForbiddenError as error:
        asked = 'cannot create resource "pods"' in str(error)
        yield Check("pods", Verdict.UNKNOWN if asked else Verdict.FAIL, str(error))
        return
    yield Check("pods", Verdict.OK, "a pod of this job would be let in")


def pod_of(job: TrainingJob) -> dict[str, Any]:
    """A pod as the operator would make it."""
    _, made = render(job)
    template = made["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]
    meta = {**template["metadata"], "name": f"{job.metadata.name}-worker-0", "namespace": job.metadata.namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {**template["spec"], "restartPolicy": "Never"}}


def gpus(cluster: Cluster, job: TrainingJob) -> Iterator[Check]:
    """Whether enough nodes have what each pod wants."""
    wanted = {name: int(amount) for name, amount in job.spec.resources.items() if "/" in name and amount.isdigit()}
    for name, amount in wanted.items():
        sizes = [int(it.get("status", {}).get("allocatable", {}).get(name, 0)) for it in cluster.list(NODE)]
        places = sum(size // amount for size in sizes if amount)
        verdict = Verdict.OK if places >= job.spec.min_nodes else Verdict.FAIL
        yield Check(
            "accelerators",
            verdict,
            f"{places} pods with {amount} {name} fit on the nodes; the job has {job.spec.min_nodes} or more",
        )


def storage(cluster: Cluster, loaded: Loaded) -> Iterator[Check]:
    """Writes, reads, refuses and deletes one small object, as a checkpoint would; from here, not from a pod."""
    check_storage(loaded.job)
    for note in borrow_credentials(cluster, loaded.job):
        yield Check("storage", Verdict.WARN, note)
    yield from probe(job_storage(loaded.job, loaded.storage_url))


def code(loaded: Loaded) -> Iterator[Check]:
    """Whether each file of the user's code is Python."""
    if loaded.job.spec.code is None:
        return
    archive = pack(loaded.code_dir, loaded.job.spec.code.exclude)
    bad = [
        text for path in sorted(loaded.code_dir.rglob("*.py")) if ".venv" not in path.parts and (text := _fault(path))
    ]
    for text in bad:
        yield Check("code", Verdict.FAIL, text)
    if not bad:
        yield Check(
            "code", Verdict.OK, f"{counted(archive.num_files, 'file')}, {len(archive.data) / 1024:.0f} KiB packed"
        )


def _fault(path: Any) -> str:
    try:
        ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        return f"{path}: {error}"
    return ""


def _named(job: TrainingJob) -> Iterator[tuple[Kind, str]]:
    spec = job.spec
    secrets = {spec.storage.secret, *spec.image_pull_secrets, *(ref.secret for ref in spec.secret_env.values())}
    secrets |= {volume.secret for volume in spec.volumes}
    yield from ((SECRET, name) for name in sorted(filter(None, secrets)))
    yield from ((CLAIM, volume.claim) for volume in spec.volumes if volume.claim)
    yield from ((CONFIG_MAP, volume.config_map) for volume in spec.volumes if volume.config_map)
    if spec.service_account:
        yield ACCOUNT, spec.service_account
    if spec.scheduling.queue:
        yield LOCAL_QUEUE, spec.scheduling.queue


def _is_there(cluster: Cluster, kind: Kind, namespace: str, name: str) -> bool:
    try:
        cluster.get(kind, namespace, name)
    except NoKindError:
        return kind.older is not None and _is_there(cluster, kind.older, namespace, name)
    except MissingError:
        return False
    except ForbiddenError:  # whoever may not read it can still use it in a pod
        return True
    return True
