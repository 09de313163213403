"""What a rank finds in its environment: torchrun's variables, the user's, and ours."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ktrain import names
from ktrain_launcher.control import Formed
from ktrain_launcher.memory import Memory
from ktrain_launcher.pod import Pod


@dataclass(frozen=True, slots=True)
class Group:
    """The ranks of this node among all of an epoch; each node has as many."""

    node: int  # its place among the nodes of the epoch, from 0
    num_nodes: int
    nproc: int
    max_restarts: int

    @classmethod
    def of(cls, formed: Formed, node: int, nproc: int, *, max_restarts: int) -> "Group":
        """This node's in a round that it is part of."""
        return cls(formed.nodes.index(node), len(formed.nodes), nproc, max_restarts)

    @property
    def ranks(self) -> range:
        """Of this node."""
        return range(self.node * self.nproc, (self.node + 1) * self.nproc)

    @property
    def world_size(self) -> int:
        """Ranks of all nodes."""
        return self.num_nodes * self.nproc


@dataclass(frozen=True, slots=True)
class Epoch:
    """What is new in each epoch."""

    formed: Formed
    group: Group
    prefix: str
    socket: Path
    errors: Path  # folder


class Environment:
    """Of each rank of an epoch."""

    def __init__(self, pod: Pod, base: Mapping[str, str], memory: Memory) -> None:
        self._pod = pod
        self._memory = memory
        self._base = dict(base)

    def of(self, epoch: Epoch, rank: int, *, restarts: int) -> dict[str, str]:
        """The user's own come first: none of them may break what the ranks agree on."""
        return {**self._base, **_torchrun(epoch.group, epoch.formed, rank, restarts), **self._ours(epoch, rank)}

    def _ours(self, epoch: Epoch, rank: int) -> dict[str, str]:
        storage = {names.ENV_STORAGE_URL: self._pod.storage_url} if self._pod.storage_url else {}
        return storage | {
            names.ENV_SPEC: str(self._pod.spec_path.absolute()),
            names.ENV_RUN: epoch.formed.run,
            names.ENV_ATTEMPT: str(epoch.formed.attempt),
            names.ENV_EPOCH: str(epoch.formed.epoch),
            names.ENV_SCRATCH: str(self._pod.scratch),
            names.ENV_MEMORY: ",".join(self._memory.of(rank - epoch.group.ranks.start)),
            names.ENV_SNAPSHOT_SOCKET: str(epoch.socket),
            names.ENV_ERROR_FILE: str(error_file(epoch.errors, rank)),
            "TORCHELASTIC_ERROR_FILE": str(epoch.errors / f"rank{rank}.torch.json"),
        }


def _torchrun(group: Group, formed: Formed, rank: int, restarts: int) -> dict[str, str]:
    """As torchrun's agent sets them (torch 2.11 to 2.15)."""
    return {
        "LOCAL_RANK": str(rank - group.ranks.start),
        "RANK": str(rank),
        "GROUP_RANK": str(group.node),
        "ROLE_RANK": str(rank),
        "ROLE_NAME": "default",
        "LOCAL_WORLD_SIZE": str(group.nproc),
        "WORLD_SIZE": str(group.world_size),
        "GROUP_WORLD_SIZE": str(group.num_nodes),
        "ROLE_WORLD_SIZE": str(group.world_size),
        "MASTER_ADDR": formed.host,
        "MASTER_PORT": str(formed.port),
        "TORCHELASTIC_RESTART_COUNT": str(restarts),
        "TORCHELASTIC_MAX_RESTARTS": str(group.max_restarts),
        "TORCHELASTIC_RUN_ID": formed.run or "none",
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # no rank hosts the store
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": os.getenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"),
    }


def error_file(folder: Path, rank: int) -> Path:
    """Where a rank tells why it fails."""
    return folder / f"rank{rank}.json"
