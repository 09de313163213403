"""Jobs of a study on this machine: each is a `ktrain run` of its own."""

import glob
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ktrain.guard import Guard, kill_group
from ktrain.history import current_run, job_storage
from ktrain.load import Loaded, load_job
from ktrain.names import CliExit
from ktrain.storage import Storage
from ktrain.tune.work import Ended, Seen, Work, seen_in

_STOPPED: Final = frozenset({CliExit.PREEMPTED, CliExit.INTERRUPTED, CliExit.CONFLICT})
_LAST_LINES: Final = 40


@dataclass
class Here:
    """Processes of this machine; they go when we go."""

    job_file: Path
    sets: Sequence[str]  # of the user, for every job
    logs: Path  # folder with a file a job
    gpus: int = 0  # of this machine
    gpus_a_job: int = 0
    _guard: Guard = field(default_factory=Guard)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _storages: dict[str, Storage] = field(default_factory=dict)  # of the jobs
    _before: dict[str, str | None] = field(default_factory=dict)  # the run that a new one takes the place of

    def start(self, work: Work, slot: int) -> None:
        """A `ktrain run` whose output goes to a file."""
        self.logs.mkdir(parents=True, exist_ok=True)
        sets = [word for it in self._sets(work) for word in ("--set", it)]
        fresh = ["--fresh"] if work.is_new else []
        self._before[work.name] = current_run(self._storage(work)) if work.is_new else None
        with self.log(work).open("wb" if work.is_new else "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "ktrain", "run", str(self.job_file), "--quiet", *fresh, *sets],
                env={**os.environ, **self._devices(slot)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to forward
            )
        self._processes[work.name] = process
        self._guard.add(process.pid)

    def log(self, work: Work) -> Path:
        """The output of a job."""
        return self.logs / f"{work.name}.log"

    def look(self, work: Work) -> Ended | None:
        """By the process's exit code."""
        code = self._processes[work.name].poll()
        if code is None:
            return None
        self._guard.remove(self._processes[work.name].pid)
        if code == CliExit.OK:
            return Ended("done")
        if code < 0 or code in _STOPPED:
            return Ended("stopped")
        return Ended("failed", self._last_words(work))

    def see(self, work: Work) -> Seen:
        """From the run's storage."""
        return seen_in(self._storage(work), before=self._before.get(work.name))

    def stop(self, work: Work) -> None:
        """As Ctrl-C does for one run."""
        process = self._processes[work.name]
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)

    def leave(self, work: Work) -> None:
        """Nothing of this machine goes on without us."""
        self.stop(work)

    def kill(self) -> None:
        """Their own guards take launchers and ranks along."""
        for process in self._processes.values():
            if process.poll() is None:
                kill_group(process.pid)
                process.wait()

    def close(self) -> None:
        """Ends what still runs."""
        self.kill()
        self._guard.close()

    def _sets(self, work: Work) -> list[str]:
        return [*self.sets, *work.sets, f"metadata.name={work.name}"]

    def _storage(self, work: Work) -> Storage:
        if work.name not in self._storages:
            loaded = load_job(self.job_file, self._sets(work))
            self._storages[work.name] = job_storage(loaded.job, loaded.storage_url)
        return self._storages[work.name]

    def _devices(self, slot: int) -> dict[str, str]:
        """GPUs of its own for each job that runs at once; as they are where there are none, or too few."""
        mine = range(slot * self.gpus_a_job, (slot + 1) * self.gpus_a_job)
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = given.split(",") if given else [str(number) for number in range(self.gpus)]
        if not mine or mine[-1] >= len(names):
            return {}
        return {"CUDA_VISIBLE_DEVICES": ",".join(names[number] for number in mine)}

    def _last_words(self, work: Work) -> str:
        lines = self.log(work).read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
        first = max((at for at, line in enumerate(lines) if line.startswith(("error:", "failed after"))), default=-1)
        if first < 0:
            return lines[-1] if lines else "no output"
        # A sentence that ends with a colon goes on in the lines below it.
        told = lines[first:] if lines[first].endswith(":") else lines[first : first + 1]
        return "\n  ".join(line.strip() for line in told).removeprefix("error: ")


def here(loaded: Loaded, sets: Sequence[str], folder: Path) -> Here:
    """This machine with its GPUs, for jobs like the loaded one; their output goes below the study's folder."""
    spec = loaded.job.spec
    wants_gpus = any(name.endswith("/gpu") for name in spec.resources)
    return Here(
        loaded.path, sets, folder / "logs", gpus=len(glob.glob("/dev/nvidia[0-9]*")),  # noqa: PTH207
        gpus_a_job=spec.max_ranks if wants_gpus else 0,
    )  # fmt: skip
