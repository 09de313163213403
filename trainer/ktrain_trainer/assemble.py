"""From a spec and the user's objects to a Run: the one place where everything meets."""

import os
import platform
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from ktrain import __version__
from ktrain.errors import DataError
from ktrain.snapshot import Sender, Snapshot
from ktrain.spec import Trainer
from ktrain_trainer import build, data, micro, optim, rng, schedule, task
from ktrain_trainer.auto_every import AutoEvery
from ktrain_trainer.average import Ema
from ktrain_trainer.checkpoint import Checkpointer, Retention, init_from
from ktrain_trainer.compiled import Compiled
from ktrain_trainer.freeze import Freezer
from ktrain_trainer.journal import Journal
from ktrain_trainer.length import Length
from ktrain_trainer.long_steps import LongSteps
from ktrain_trainer.meter import Meter
from ktrain_trainer.metrics import Metrics
from ktrain_trainer.metrics.registry import check as check_metrics
from ktrain_trainer.ordering import make_order
from ktrain_trainer.parallel import spread
from ktrain_trainer.past_gangs import read_past
from ktrain_trainer.place import Place, checkpointer, gang, write_done
from ktrain_trainer.plan import Stream
from ktrain_trainer.predictions import Predictions
from ktrain_trainer.probe import Probe
from ktrain_trainer.profiler import Profiler
from ktrain_trainer.rate import ClosedForm, Rate, Scheduled
from ktrain_trainer.room import free_bytes
from ktrain_trainer.run import Feed, Run
from ktrain_trainer.saving import Saving
from ktrain_trainer.sinks import Facts, Sink, open_sinks
from ktrain_trainer.sources import make_sources
from ktrain_trainer.stop import StopFlag
from ktrain_trainer.streaming import ENDLESS, check_units
from ktrain_trainer.task import Task
from ktrain_trainer.world import World


@dataclass(frozen=True)
class Parts:
    """The user's objects."""

    model: nn.Module
    task: Task
    train: data.Loader
    val: data.Loader | None


def build_parts(spec: Trainer) -> Parts:
    """Imports and builds what the spec names; the same initial weights on every rank, whatever their number."""
    sources = make_sources(spec.data, seed=spec.seed)
    train = data.make_loader(spec.data, sources.train, seed=spec.seed, split="train")
    val = data.make_loader(spec.data, sources.val, seed=spec.seed) if sources.val is not None else None
    rng.seed_all(rng.key(spec.seed, rng.INIT))
    model = build.construct(spec.model, "spec.trainer.model")
    if not isinstance(model, nn.Module):
        raise DataError(f"{spec.model.use} gave a {type(model).__name__}, not a torch.nn.Module", "spec.trainer.model")
    return Parts(model, task.make(spec.task), train, val)


def assemble(
    spec: Trainer,
    parts: Parts,
    world: World,
    place: Place,
    *,
    stop: StopFlag,
    sender: Sender | None = None,
    document: Mapping[str, Any] | None = None,
    check_spec: Callable[[Mapping[str, Any], Mapping[str, Any]], object] | None = None,
    sinks: Sequence[Sink] = (),
    most_ranks: int | None = None,
) -> Run:
    """A run that is ready to train. document: the resolved spec, for the manifests and for comparison at resume.

    most_ranks: how many the job may ever have; none: as many as there are.
    """
    if spec.model.init_from:
        init_from(parts.model, spec.model.init_from, world=gang(world), opener=place.opener)
    check_metrics(spec.eval.metrics)
    if spec.batch.micro == "auto":
        size = _micro(spec, parts, world, place, most_ranks or world.size)
        spec, document = micro.with_micro(spec, size), micro.told(document or {}, size)
    compiled = _compiled(spec, world, place)
    parallel = spread(parts.model, world, spec.parallel, spec.compile)
    optimizer = optim.make(spec.optim, parallel.model, lr=spec.optim.rate(spec.batch.global_))
    if train_mode := getattr(optimizer, "train", None):  # schedule-free ones: they are saved as they train
        train_mode()
    train = _train_feed(parts.train, spec)
    val = _val_feed(parts.val, spec) if parts.val and spec.eval.max_samples != 0 else None
    length = Length.of(spec.duration, num_samples=train.num_samples)
    about = _about(spec, world, length, place)
    described = {"about": about, "spec": dict(document or {}), "data": data.fingerprint(parts.train.fetch.source)}
    journal = Journal([*sinks, *_sinks(spec, world, place, document or {})], place.token)
    snapshot = Snapshot(world.rank, world.local_rank, world.size, os.getpid())
    meter = Meter(snapshot, sender, total_steps=length.steps(spec.batch.global_))

    def check(meta: Mapping[str, Any]) -> None:
        _same_data(meta.get("data"), described["data"])
        if check_spec and meta.get("spec"):
            check_spec(meta["spec"], described["spec"])

    saving = Saving(
        spec, world, _checkpointer(spec, world, place), journal, meter,
        describe=described, check=check, free=lambda: free_bytes(place.storage.url) if place.storage else None,
        auto=_auto(spec, world, place), done=lambda progress: write_done(place, progress, duration=str(spec.duration)) if place.storage else None,
    )  # fmt: skip
    return Run(
        spec,
        world,
        parallel,
        parts.task,
        optimizer,
        train,
        val,
        length,
        _rate(spec, length, train, optimizer),
        Freezer(spec.optim.rules, parallel.model, num_samples=train.num_samples, is_sharded=parallel.pads),
        Ema(spec.optim.ema, parallel.model) if spec.optim.ema else None,
        saving,
        journal,
        meter,
        stop,
        Profiler(spec.profile, world, place.storage, journal, snapshot, stop),
        LongSteps(place.grace_seconds, stop, agree=world.agree, save_seconds=meter.save_seconds),
        about,
        compiled=compiled,
        probe=Probe.of(spec, world, place.storage, journal),
        metrics=Metrics(spec.eval.metrics),
        predictions=Predictions(place, world) if spec.eval.predictions and place.storage else None,
    )


def _train_feed(loader: data.Loader, spec: Trainer) -> Feed:
    num_samples = len(loader.fetch.source)
    if num_samples == ENDLESS:
        check_units(spec)
    order = make_order(spec, loader.fetch.source)
    stream = Stream(num_samples, seed=spec.seed, shuffle=spec.data.shuffle, order=order)
    return Feed(loader, stream, spec.batch.micro_size, num_samples)


def _val_feed(loader: data.Loader, spec: Trainer) -> Feed:
    num_samples = len(loader.fetch.source)
    wanted = min(num_samples, spec.eval.max_samples or num_samples)
    return Feed(
        loader, Stream(num_samples, seed=spec.seed, shuffle=False), spec.eval.micro or spec.batch.micro_size, wanted
    )


def _rate(spec: Trainer, length: Length, train: Feed, optimizer: torch.optim.Optimizer) -> Rate:
    if spec.schedule.use:
        return Scheduled(spec.schedule, optimizer)
    to_unit = partial(
        schedule.convert, unit=length.unit, global_batch=spec.batch.global_, num_samples=train.num_samples
    )
    return ClosedForm(
        spec.optim.rate(spec.batch.global_), schedule.ramp(spec.schedule, total=length.total, to_unit=to_unit)
    )


def _micro(spec: Trainer, parts: Parts, world: World, place: Place, most_ranks: int) -> int:
    model = parts.model.to(world.device)
    fits = micro.probe(model, parts.task, parts.train.fetch, spec, world.device)
    return micro.settle(spec, world, place.storage, most_ranks=most_ranks, fits=fits)


def _compiled(spec: Trainer, world: World, place: Place) -> Compiled | None:
    if not spec.compile or not spec.compile.cache:
        return None
    compiled = Compiled(place.storage, place.scratch, keeps=world.is_first)
    compiled.open()
    return compiled


def _auto(spec: Trainer, world: World, place: Place) -> AutoEvery | None:
    if not (spec.checkpoint.is_auto and world.is_first and place.storage):
        return None
    return AutoEvery(read_past(place.storage, place.token), nodes=max(1, world.size // world.local_size))


def _checkpointer(spec: Trainer, world: World, place: Place) -> Checkpointer | None:
    if place.storage is None:
        return None
    best = spec.checkpoint.best
    retention = Retention(spec.checkpoint.keep_last, best.keep if best else 0, best.mode if best else "min")
    return checkpointer(place, world, retention=retention)


def _sinks(spec: Trainer, world: World, place: Place, document: Mapping[str, Any]) -> Sequence[Sink]:
    if place.storage is None or not world.is_first:
        return ()
    return open_sinks(
        spec.track, place.storage, place.token, scratch=place.scratch, facts=Facts.of(document, place.run)
    )


def _about(spec: Trainer, world: World, length: Length, place: Place) -> dict[str, Any]:
    return {
        "world_size": world.size,
        "threads": spec.threads,
        "device": torch.cuda.get_device_name() if world.device.type == "cuda" else platform.machine(),
        "host": socket.gethostname(),
        "total_steps": length.steps(spec.batch.global_),
        "versions": {"ktrain": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "resumed_from": None,
        "run": place.run,
    }


def _same_data(before: Any, now: Mapping[str, Any]) -> None:
    if isinstance(before, Mapping) and before.get("samples") != now["samples"]:
        raise DataError(
            f"the training dataset has {now['samples']} samples, but had {before.get('samples')} when this run began; "
            "bring the old data back, or begin a new run with --fresh"
        )
    if isinstance(before, Mapping) and before.get("fingerprint") != now["fingerprint"]:
        raise DataError(
            f"the training dataset's fingerprint is {now['fingerprint']}, but was {before.get('fingerprint')} when this run "
            "began; bring the old data back, or begin a new run with --fresh"
        )
