"""What a laptop has not, and what takes its place; each replacement is said."""

from dataclasses import dataclass

from ktrain.spec import TrainingJob
from ktrain.spec.platform import Elastic
from ktrain.units import counted


@dataclass(frozen=True, slots=True)
class Machine:
    """What is here."""

    gpus: int
    cores: int


@dataclass(frozen=True, slots=True)
class Mapped:
    """The job as it runs here, and what was replaced, a sentence each."""

    job: TrainingJob
    nodes: int
    procs: int
    told: tuple[str, ...]


def adapt(job: TrainingJob, machine: Machine, *, nodes: int | None, procs: int | None) -> Mapped:
    """`nodes` and `procs` from the command line win over the spec."""
    spec = job.spec
    told: list[str] = []
    num_nodes = nodes or spec.max_nodes
    kept: int | Elastic = num_nodes
    if isinstance(spec.nodes, Elastic) and nodes is None:
        kept = spec.nodes
        told.append(f"nodes {kept.min} to {kept.max} → {num_nodes}, and fewer while one of them is lost")
    num_procs = procs or _procs(job, machine, num_nodes, told)
    if spec.storage.secret:
        told.append(f"storage.secret {spec.storage.secret!r} → the S3 credentials of this shell")
    told += [f"secretEnv {name} → ${name} of this shell" for name in spec.secret_env]
    told += [
        f"volume {volume.name!r} at {volume.mount_path} → that path on this machine, as it is"
        for volume in spec.volumes
    ]
    changed = spec.model_copy(update={"nodes": kept, "procs_per_node": num_procs})
    return Mapped(job.model_copy(update={"spec": changed}), num_nodes, num_procs, tuple(told))


def _procs(job: TrainingJob, machine: Machine, nodes: int, told: list[str]) -> int:
    wanted = job.spec.ranks_per_node
    wants_gpus = any(name.endswith("/gpu") for name in job.spec.resources)
    if wants_gpus and machine.gpus == 0:
        here = max(1, min(wanted, machine.cores // nodes))
        told.append(f"{counted(wanted, 'GPU')} a node → {counted(here, 'CPU rank')} a node: there is no GPU here")
        return here
    return wanted
