"""What this launcher was told: its environment, read once."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktrain import names
from ktrain.errors import SpecError

MAX_NODES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Pod:
    """One launcher's place in the job."""

    spec_path: Path
    scratch: Path
    node_rank: int
    num_nodes: int
    nproc: int | None  # None: as the spec says
    rdzv_host: str
    rdzv_port: int
    attempt: int
    run: str  # empty: the job's current run
    metrics_port: int  # 0: any free one
    termination_log: Path
    storage_url: str  # empty: as the spec says
    bind: str  # empty: all addresses
    code: str  # sha256 of the code archive; empty: the folder in place
    request: Path | None  # what this pod is asked while it runs
    submitted: float | None  # Unix seconds; None: not told
    in_cluster: bool  # whether Kubernetes started us

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Pod":
        """The pod of this environment; raises SpecError in one sentence."""
        num_nodes = _number(environ, names.ENV_NUM_NODES, default=1, least=1, most=MAX_NODES)
        is_alone = num_nodes == 1
        return cls(
            spec_path=Path(_text(environ, names.ENV_SPEC)),
            scratch=Path(_text(environ, names.ENV_SCRATCH)).absolute(),
            num_nodes=num_nodes,
            node_rank=_number(
                environ, names.ENV_NODE_RANK, default=0 if is_alone else None, least=0, most=num_nodes - 1
            ),
            nproc=_number(environ, names.ENV_NPROC, default=0, least=0, most=1024) or None,
            rdzv_host=_text(environ, names.ENV_RDZV_HOST, default="127.0.0.1" if is_alone else None),
            rdzv_port=_number(environ, names.ENV_RDZV_PORT, default=names.DEFAULT_RDZV_PORT, least=0, most=65535),
            attempt=_number(environ, names.ENV_ATTEMPT, default=1, least=0, most=9999),
            run=environ.get(names.ENV_RUN, ""),
            metrics_port=_number(
                environ, names.ENV_METRICS_PORT, default=names.DEFAULT_METRICS_PORT, least=0, most=65535
            ),
            termination_log=Path(environ.get(names.ENV_TERMINATION_LOG) or names.TERMINATION_LOG),
            storage_url=environ.get(names.ENV_STORAGE_URL, ""),
            bind=environ.get(names.ENV_BIND, ""),
            code=environ.get(names.ENV_CODE, ""),
            request=Path(environ[names.ENV_REQUEST]) if environ.get(names.ENV_REQUEST) else None,
            submitted=_time(environ.get(names.ENV_SUBMITTED, "")),
            in_cluster="KUBERNETES_SERVICE_HOST" in environ,
        )

    def bound_at(self, launched: float) -> float:
        """When this pod's volumes were made, before any image was pulled; at the latest when the launcher began."""
        try:
            return min(launched, self.request.lstat().st_mtime) if self.request else launched
        except OSError:
            return launched

    def make_folders(self, environ: Mapping[str, str]) -> None:
        """Home, caches and the temporary folder, where they are below scratch: nobody else would make them. SpecError."""
        for name in names.SCRATCH_FOLDERS:
            folder = Path(environ.get(name) or "/")
            if folder.is_relative_to(self.scratch):
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise SpecError(f"{name}: {folder} cannot be made: {error.strerror}") from error


def _text(environ: Mapping[str, str], name: str, *, default: str | None = None) -> str:
    value = environ.get(name) or default
    if value is None:
        raise SpecError(
            f"{name} is not set; `ktrain run` and the rendered pod set it, so start the launcher through them"
        )
    return value


def _time(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if 0 < found < time.time() else None  # told by a clock that may be ahead of ours


def _number(environ: Mapping[str, str], name: str, *, default: int | None, least: int, most: int) -> int:
    value = _text(environ, name, default=None if default is None else str(default))
    if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
        raise SpecError(f"{name} is {value!r}; expected a whole number from {least} to {most}")
    return int(value)
