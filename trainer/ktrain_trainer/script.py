"""`script:` mode: the user's own loop, with ktrain's checkpoints, data order, stop agreement and metrics.

Exact always: model, optimizer, step. Exact too when the script takes ktrain's loader: the data, and every random draw
between two batches (dropout, augmentation), because the loader seeds the generators by position.
"""

import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import torch
from torch import nn
from torch.utils.data import default_collate

from ktrain.errors import SpecError
from ktrain.names import ENV_SNAPSHOT_SOCKET, Exit
from ktrain.snapshot import Sender, Snapshot
from ktrain.spec import Profile
from ktrain.units import Span
from ktrain_trainer import failures, place, rng
from ktrain_trainer.data import Collate, Fetch, Loader, check_source, to_device
from ktrain_trainer.journal import Journal
from ktrain_trainer.meter import Meter
from ktrain_trainer.parallel.replica import Replica
from ktrain_trainer.plan import Cut, Stream
from ktrain_trainer.profiler import Profiler
from ktrain_trainer.progress import Progress
from ktrain_trainer.script_checkpoint import ScriptCheckpoint
from ktrain_trainer.sinks import open_sinks
from ktrain_trainer.stop import StopFlag
from ktrain_trainer.uncompiled import spare_compiler
from ktrain_trainer.vote import Vote
from ktrain_trainer.world import World

log = logging.getLogger("ktrain")

LOG_EVERY = 10  # steps between two records of the training curve


class ScriptRun:
    """A script's place in the gang: who it is, where the run is kept, and whether it was told to go."""

    def __init__(self, world: World, where: place.Place, stop: StopFlag, *, sender: Sender | None) -> None:
        self.rank = world.rank
        self.world_size = world.size
        self.device = world.device
        self._world = world
        self._place = where
        self._stop = stop
        self._progress = Progress()
        sinks = (
            open_sinks((), where.storage, where.token, scratch=where.scratch)
            if where.storage and world.is_first
            else ()
        )
        self._journal = Journal(sinks, where.token)
        self._meter = Meter(
            Snapshot(world.rank, world.local_rank, world.size, os.getpid(), phase="train"), sender, total_steps=0
        )
        self._vote = Vote(stop, world)
        self._profiler = Profiler(Profile(), world, where.storage, self._journal, self._meter.snapshot, stop)
        self._checkpoints: list[ScriptCheckpoint] = []
        self._journal.write("start", self._progress, restored_step=0, world_size=world.size)

    def loader(
        self,
        dataset: Any,
        *,
        batch: int,
        epochs: float = 1,
        seed: int = 0,
        shuffle: bool = True,
        collate: Collate | None = None,
        workers: int = 0,
    ) -> "ScriptLoader":
        """This rank's share of each global batch of `batch` samples, for `epochs` passes over the data."""
        if batch % self.world_size:
            raise SpecError(
                f"the global batch is {batch}, which {self.world_size} ranks cannot share evenly; make it a multiple"
            )
        fetch = Fetch(check_source(dataset, "dataset"), collate or default_collate, seed)
        stream = Stream(len(dataset), seed=seed, shuffle=shuffle)
        return ScriptLoader(self, Loader(fetch, workers), stream, batch=batch, epochs=epochs, seed=seed)

    def replicate(self, model: nn.Module) -> Replica:
        """In place of DistributedDataParallel: the same gradients, and bit-exact through restarts at any number of ranks."""
        return Replica(model, self._world.control, self.world_size, on_wait=self._meter.waited_for_peers)

    def checkpoint(
        self,
        *,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        loader: "ScriptLoader | None" = None,
        every: str = "10min",
        keep_last: int = 2,
        **more: Any,
    ) -> ScriptCheckpoint:
        """What a checkpoint holds. more: objects with state_dict and load_state_dict whose state is JSON (schedulers)."""
        checkpoint = ScriptCheckpoint(self, model, optimizer, loader, Span.parse(every), keep_last, more)
        self._checkpoints.append(checkpoint)
        return checkpoint

    def report(self, **values: float) -> None:
        """Numbers of this step, for metrics and the training curve: loss=…, lr=…; rank 0's are recorded."""
        snapshot = self._meter.snapshot
        for name, value in values.items():
            if name in {"loss", "lr", "grad_norm"}:
                setattr(snapshot, name, float(value))
            else:
                snapshot.metrics[name] = float(value)
        if self._progress.step % LOG_EVERY == 0:
            self._journal.write(
                "step",
                self._progress,
                **{**{name: float(value) for name, value in values.items()}, **self._meter.interval()},
            )

    def should_stop(self) -> bool:
        """Whether any rank was told to go: the same answer on every rank. Call it once a step, on all ranks.

        Each call reads the answer to the question that the call before asked, so that no step waits for it.
        """
        return self._vote.stops()

    def stop_if_asked(self) -> None:
        """Saves and leaves when any rank was told to go; call it once a step, on all ranks."""
        if self.should_stop():
            for checkpoint in self._checkpoints:
                checkpoint.save(wait=True)
            self.stop()

    def stop(self) -> NoReturn:
        """Leaves after an agreed stop, with the code that brings the job back."""
        self._journal.write("stop", self._progress, reason="signal" if self._stop.is_set else "a peer was told to go")
        self._leave()
        sys.exit(Exit.PREEMPTED if self._stop.is_set else Exit.MEMBERSHIP)

    def finish(self) -> None:
        """The end of the run: one last commit, then nobody starts it again."""
        for checkpoint in self._checkpoints:
            checkpoint.save(wait=True)
        self._progress.finished = "duration"
        self._journal.write("end", self._progress, reason="duration")
        if self._world.is_first and self._place.storage is not None:
            place.write_done(self._place, self._progress, duration=None)
        self._leave()

    def _leave(self) -> None:
        self._profiler.close(hurry=self._stop.is_set)
        self._journal.close()
        self._meter.enter("done")
        self._meter.tell()
        self._world.leave()


class ScriptLoader:
    """Batches from where the run is; counts a batch as seen when it is handed out, so save after the optimizer's step."""

    def __init__(self, run: ScriptRun, loader: Loader, stream: Stream, *, batch: int, epochs: float, seed: int) -> None:
        self._run = run
        self._loader = loader
        self._stream = stream
        self._batch = batch
        self._seed = seed
        self.total = int(epochs * stream.num_samples)
        self.samples = 0
        run._meter.snapshot.total_steps = -(-self.total // batch)

    @property
    def epoch(self) -> int:
        """Of the sample that comes next."""
        return self.samples // self._stream.num_samples

    def __len__(self) -> int:
        return (self.total - self.samples) // self._batch

    def __iter__(self) -> Iterator[Any]:
        run, progress = self._run, self._run._progress
        cut = Cut(self._batch // run.world_size, run.rank, run.world_size)
        begin = self.samples
        ends = range(
            begin + self._batch, self.total + 1, self._batch
        )  # a last part that ranks cannot share is left out
        micros = (micro for end in ends for micro in cut.each(self._stream, end - self._batch, end))
        for batch in self._loader.batches(micros):
            progress.step += 1
            self.samples += self._batch
            progress.samples = self.samples
            rng.seed_all(rng.key(self._seed, rng.FORWARD, progress.step, run.rank))
            run._profiler.begin()
            yield to_device(batch.data, run.device)
            run._profiler.end((0, 0, 0.0), progress, self._stream.num_samples)
            run._meter.step_done(progress, samples=self._batch, tokens=0.0)
            run._meter.progressed(self.samples / self.total)

    def state_dict(self) -> dict[str, int]:
        """Where the run is in the data."""
        return {"samples": self.samples, "step": self._run._progress.step, "of": self._stream.num_samples}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Goes there."""
        if state["of"] != self._stream.num_samples:
            raise SpecError(
                f"the dataset has {self._stream.num_samples} samples, but had {state['of']} when this run began; "
                "bring the old data back, or begin a new run with --fresh"
            )
        self.samples = self._run._progress.samples = state["samples"]
        self._run._progress.step = state["step"]


def init() -> ScriptRun:
    """Joins the gang that `ktrain run`, the launcher or torchrun started; alone without one. Call it first."""
    failures.install_hook()
    spare_compiler()
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # the launcher asks for our stacks
    stop = StopFlag().listen()
    world = World.join()
    where = place.given(place.read_job()) if place.is_launched() else place.nowhere()
    socket = os.environ.get(ENV_SNAPSHOT_SOCKET)
    return ScriptRun(world, where, stop, sender=Sender(socket) if socket else None)
