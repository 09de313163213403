"""What a rank finds in its environment: torchrun's variables, the user's, and ours."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch.distributed.elastic.agent.server.api import Worker, WorkerGroup

from ktrain import names
from ktrain_launcher.control import Formed
from ktrain_launcher.pod import Pod


@dataclass(frozen=True, slots=True)
class Epoch:
    """What is new in each epoch."""

    formed: Formed
    prefix: str
    socket: Path
    errors: Path  # folder


class Environment:
    """Of each rank of an epoch."""

    def __init__(self, pod: Pod, base: Mapping[str, str]) -> None:
        self._pod = pod
        self._base = dict(base)

    def of(self, epoch: Epoch, group: WorkerGroup, worker: Worker, *, restarts: int) -> dict[str, str]:
        """The user's own come first: none of them may break what the ranks agree on."""
        return {**self._base, **_torchrun(group, worker, restarts), **self._ours(epoch, worker.global_rank)}

    def _ours(self, epoch: Epoch, rank: int) -> dict[str, str]:
        storage = {names.ENV_STORAGE_URL: self._pod.storage_url} if self._pod.storage_url else {}
        return storage | {
            names.ENV_SPEC: str(self._pod.spec_path.absolute()),
            names.ENV_RUN: epoch.formed.run,
            names.ENV_ATTEMPT: str(epoch.formed.attempt),
            names.ENV_EPOCH: str(epoch.formed.epoch),
            names.ENV_SCRATCH: str(self._pod.scratch),
            names.ENV_SNAPSHOT_SOCKET: str(epoch.socket),
            names.ENV_ERROR_FILE: str(error_file(epoch.errors, rank)),
            "TORCHELASTIC_ERROR_FILE": str(epoch.errors / f"rank{rank}.torch.json"),
        }


def _torchrun(group: WorkerGroup, worker: Worker, restarts: int) -> dict[str, str]:
    """As torch's LocalElasticAgent sets them (torch 2.11 to 2.15)."""
    spec = group.spec
    return {
        "LOCAL_RANK": str(worker.local_rank),
        "RANK": str(worker.global_rank),
        "GROUP_RANK": str(group.group_rank),
        "ROLE_RANK": str(worker.role_rank),
        "ROLE_NAME": spec.role,
        "LOCAL_WORLD_SIZE": str(spec.local_world_size),
        "WORLD_SIZE": str(worker.world_size),
        "GROUP_WORLD_SIZE": str(group.group_world_size),
        "ROLE_WORLD_SIZE": str(worker.role_world_size),
        "MASTER_ADDR": str(group.master_addr),
        "MASTER_PORT": str(group.master_port),
        "TORCHELASTIC_RESTART_COUNT": str(restarts),
        "TORCHELASTIC_MAX_RESTARTS": str(spec.max_restarts),
        "TORCHELASTIC_RUN_ID": spec.rdzv_handler.get_run_id(),
        "TORCHELASTIC_USE_AGENT_STORE": str(spec.rdzv_handler.use_agent_store),
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": os.getenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"),
    }


def error_file(folder: Path, rank: int) -> Path:
    """Where a rank tells why it fails."""
    return folder / f"rank{rank}.json"
