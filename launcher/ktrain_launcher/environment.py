"""What a rank finds in its environment beside torchrun's variables, and where its output goes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch.distributed.elastic.multiprocessing import LogsDest, LogsSpecs

from ktrain import names
from ktrain_launcher.control import Formed
from ktrain_launcher.logs import Logs
from ktrain_launcher.pod import Pod


@dataclass(frozen=True, slots=True)
class Epoch:
    """What is new in each epoch."""

    formed: Formed
    prefix: str
    socket: Path
    errors: Path  # folder


class Environment(LogsSpecs):
    """torch asks its log specification last before it starts the ranks: here their environments become ours too."""

    def __init__(self, pod: Pod, logs: Logs, *, always: Mapping[str, str], forced: Mapping[str, str]) -> None:
        super().__init__()
        self._pod = pod
        self._logs = logs
        self._always, self._forced = dict(always), dict(forced)
        self.epoch: Epoch | None = None

    @property
    def root_log_dir(self) -> str:
        """Only torch's own log specification uses it."""
        return str(self._pod.scratch)

    def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
        """Adds to each rank's environment, and names its files."""
        assert self.epoch is not None
        out: dict[int, str] = {}
        err: dict[int, str] = {}
        errors: dict[int, str] = {}
        for local_rank, env in envs.items():
            rank = int(env["RANK"])
            # The user's own come first: none of them may break what the ranks agree on.
            env.update({**self._always, **env, **self._forced, **self._ours(self.epoch, rank)})
            stdout, stderr = self._logs.paths(self.epoch.prefix, rank)
            out[local_rank], err[local_rank] = str(stdout), str(stderr)
            errors[local_rank] = env["TORCHELASTIC_ERROR_FILE"]
        return LogsDest(stdouts=out, stderrs=err, error_files=errors)

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


def error_file(folder: Path, rank: int) -> Path:
    """Where a rank tells why it fails."""
    return folder / f"rank{rank}.json"
