"""The training loop, top to bottom: load, step, measure, save, stop."""

import logging
import math
import time
from dataclasses import replace
from typing import Any, Final

from ktrain.errors import NonFiniteError
from ktrain_trainer import loss_scale, plateau, rng
from ktrain_trainer.clip import clip
from ktrain_trainer.data import Batch, to_device
from ktrain_trainer.evaluate import evaluate, metric_names
from ktrain_trainer.judge import check_monitors, is_among_best, should_stop
from ktrain_trainer.length import passed
from ktrain_trainer.parallel import Votes
from ktrain_trainer.run import Run

MAX_SKIPPED: Final = 5
JUMP: Final = 1.5  # a rate that is so many times larger is told

log = logging.getLogger("ktrain")


def train(run: Run) -> None:
    """From the newest commit to the end of the run, or to an agreed stop (then run.is_stopping)."""
    if restored := run.saving.restore(run.state):
        run.progress = restored
        run.rate.restore(run.optimizer, restored.scheduler)
    if run.progress.finished == "duration" and not run.length.is_over(run.progress):
        run.progress.finished, run.ended_at_rate = (
            None,
            run.progress.lr,
        )  # it was done, and its duration has been raised
    origin = {"restored_from": run.saving.origin} if run.saving.origin else {}
    run.journal.write("start", run.progress, restored_step=run.progress.step, **origin, **run.about)
    run.saving.make_up(run.state)
    run.restart_steps()
    if run.watched or run.metrics:
        check_monitors(run.watched, metric_names(run))
    run.model.train()
    if run.progress.owes_eval and run.val and not run.is_stopping:
        _evaluate(run)
    run.meter.enter("train")
    try:
        while not (run.is_stopping or run.progress.finished or run.length.is_over(run.progress)):
            _step(run)
        _finish(run)
    finally:
        run.profiler.drop()


def _step(run: Run) -> None:
    progress = run.progress
    before, cursor = (progress.step, progress.samples, progress.tokens), progress.cursor
    started = time.perf_counter()
    assert run.steps is not None
    run.profiler.begin()
    with run.profiler.span("data"):
        batches = run.steps.next()
    run.meter.waited(time.perf_counter() - started)
    for batch in batches:
        progress.cursor = batch.cursor
        if batch.skipped:
            run.note_skipped(batch.skipped)
    samples = run.length.end(progress.samples, run.spec.batch.global_) - progress.samples

    if run.probe:
        run.probe.batches(progress.step + 1, batches)

    run.freezer.hold(progress)
    run.parallel.begin()
    give_back = run.long_steps.keep(run.model)
    if not _forward_backward(run, batches, samples):
        give_back()
        _give_up(run, cursor)
        return
    votes = _reduce(run)  # agreed by all ranks: the weight, and who was told to go
    run.saving.fence()
    with run.profiler.span("update"):
        _update(run, votes, samples)
    run.parallel.sync_buffers()

    progress.step += 1
    progress.samples += samples
    progress.tokens += votes.weight
    seconds = run.meter.step_done(progress, samples=samples, tokens=votes.weight)
    run.saving.step_done(seconds)
    run.long_steps.ended(seconds, votes=votes.long)
    if run.saving.is_cold:
        run.saving.warm(run.state)
    run.is_stopping = votes.stop > 0  # told during this step or before: the commit below holds it
    if votes.save > 0:
        run.stop.wants_save = False  # whoever asked until now is served by the save that follows
    run.profiler.end(before, progress, run.train.num_samples)
    _after_step(run, before, votes)


def _give_up(run: Run, cursor: Any) -> None:
    """The step never was: what is saved is the state before, and the batches come again."""
    run.parallel.begin()
    run.progress.cursor = cursor
    run.is_stopping = True
    log.warning("step %d is given up: it would not end within preemption.grace", run.progress.step + 1)


def _forward_backward(run: Run, batches: list[Batch], samples: int) -> bool:
    """False when all ranks have agreed to give the step up."""
    most = run.train.cut(run.world).rounds(0, samples)
    rounds = most if run.parallel.pads else len(batches)
    real = len(batches)
    run.filler = batches[0] if batches else run.filler
    if rounds > real:  # sharded parameters are gathered by all ranks together, so all run equally many passes
        batches = batches + [run.filler or run.train.loader.fetch[run.train.cut(run.world).first(run.train.stream)]] * (
            rounds - real
        )
    weight = 0.0
    for number, batch in enumerate(batches):
        rng.seed_all(rng.key(run.spec.seed, rng.FORWARD, run.progress.step, batch.index))
        is_last = number == rounds - 1
        if _is_given_up(run, number, most if is_last else number + 1, most):
            return False
        with run.parallel.sync(is_last=is_last):
            with run.profiler.span("forward"), run.autocast():
                out = run.task(run.model, to_device(batch.data, run.world.device))
            is_real = number < real
            if is_real:
                weight += float(out.weight)  # a GPU sync when the task counts on the device
                run.loss_sum += out.loss_sum.detach().double()
            if is_last:
                run.parallel.vote(_votes(run, weight))
            with run.profiler.span("backward"):
                run.backward(out.loss_sum, is_real=is_real)
    if not batches:
        if _is_given_up(run, 0, most, most):
            return False
        run.parallel.vote(_votes(run, weight))
    run.loss_weight += weight
    return True


def _is_given_up(run: Run, begin: int, end: int, most: int) -> bool:
    """Once for each micro-batch from begin to end; a rank that has fewer than others asks before its last, which reduces."""
    return any(run.long_steps.is_given_up(left=1 - number / most) for number in range(begin, end))


def _votes(run: Run, weight: float) -> Votes:
    is_first, saving, stop = run.world.is_first, run.saving, run.stop
    due = is_first and saving.is_due_by_clock()
    remember = is_first and saving.memory.is_due_by_clock()
    return Votes(
        weight, float(stop.is_set), save=due + 2.0 * stop.wants_save, remember=float(remember), long=run.long_steps.vote
    )


def _reduce(run: Run) -> Votes:
    """Ends the reduction; ranks that were done early wait here for the others, and for how long is measured.

    What a GPU computes cannot be told apart: its kernels run beside the host, which waits in here, where the votes are
    read, for its own as for its peers' (with FSDP2 at the norm, for everybody alike). So a slow loader or host shows,
    a slow device does not. Nor does FSDP2 on CPUs, whose ranks meet at each layer.
    """
    started = time.perf_counter()
    with run.profiler.span("reduce"):
        votes = run.parallel.reduce()
    run.meter.waited_for_peers(time.perf_counter() - started)
    return votes


def _update(run: Run, votes: Votes, samples: int) -> None:
    """Mean over the targets that counted, clip, step. Ranks decide alike: the norm is the same on all of them."""
    spec, progress = run.spec, run.progress
    run.freezer.drop(progress)
    factor = (spec.batch.global_ / votes.weight if votes.weight else 1.0) / loss_scale.of(spec, progress)
    norm = float(run.parallel.norm()) * factor  # the step's GPU sync
    if run.probe:
        run.probe.gradients(run.model, run.progress, norm=norm, factor=factor)
    if not math.isfinite(norm):
        if not loss_scale.has_overflowed(spec, progress):
            _skip(run, norm)
        return
    progress.skipped_in_a_row = 0
    _clip(run, norm, factor)
    run.meter.snapshot.grad_norm = norm
    run.meter.snapshot.lr = rate = run.rate.apply(run.optimizer, *_position(run, votes, samples), progress)
    _tell_jump(run, rate)
    run.optimizer.step()
    run.rate.stepped()
    loss_scale.was_good(spec, progress)
    if run.ema and _is_ema_due(run, votes, samples):
        run.ema.take_in(run.params)


def _tell_jump(run: Run, rate: float) -> None:
    """Of a falling schedule that was at its end and is stretched: what was settled is stirred up again."""
    before, run.ended_at_rate, run.progress.lr = run.ended_at_rate, None, rate
    if before is not None and rate > JUMP * before:
        log.warning(
            "the run had ended at a learning rate of %.3g and goes on at %.3g, because duration is part of the schedule; "
            "for a rate that goes on where it was, give this run a schedule that ends there",
            before, rate,
        )  # fmt: skip


def _clip(run: Run, norm: float, factor: float) -> None:
    """Gradients times the factor, and within bounds."""
    spec = run.spec.optim.clip
    if spec and spec.norm is not None and norm > spec.norm:
        factor *= spec.norm / norm
    if factor != 1.0:
        run.parallel.scale(factor)
    if spec and spec.norm is None:
        clip(spec, run.params, run.parallel)


def _is_ema_due(run: Run, votes: Votes, samples: int) -> bool:
    assert run.spec.optim.ema is not None
    before = (run.progress.step, run.progress.samples, run.progress.tokens)
    now = replace(run.progress, step=before[0] + 1, samples=before[1] + samples, tokens=before[2] + votes.weight)
    return passed(run.spec.optim.ema.every, before, now, num_samples=run.train.num_samples)


def _position(run: Run, votes: Votes, samples: int) -> tuple[float, float]:
    per_step = {"step": 1.0, "sample": float(samples), "tok": votes.weight}[run.length.unit]
    return run.length.done(run.progress), per_step


def _skip(run: Run, norm: float) -> None:
    progress, snapshot = run.progress, run.meter.snapshot
    progress.skipped += 1
    progress.skipped_in_a_row += 1
    snapshot.nonfinite_steps += 1
    if run.spec.nonfinite == "stop" or progress.skipped_in_a_row > MAX_SKIPPED:
        raise NonFiniteError(
            f"the gradient's norm is {norm} at step {progress.step + 1}; lower optim.lr, set optim.clip, check the data "
            "(trainer.nonfinite: skip drops single bad steps)"
        )


def _after_step(run: Run, before: tuple[int, int, float], votes: Votes) -> None:
    """In this order, always: log, evaluate, save, stop."""
    progress, spec, num_samples = run.progress, run.spec, run.train.num_samples
    if passed(spec.log.every, before, progress, num_samples=num_samples):
        _log(run)
    is_top = False
    if run.val and spec.eval.every and passed(spec.eval.every, before, progress, num_samples=num_samples):
        progress.owes_eval = True
        if not run.is_stopping:  # a run that is told to go saves first; the resumed one evaluates
            is_top = _evaluate(run)
    if not run.is_stopping and (votes.save > 0 or is_top or run.saving.is_due(before, progress, num_samples)):
        # What is asked for and what is among the best must come to be; a regular one is as good as the next.
        run.save(metric=_metric(run) if is_top else None, may_drop=not (votes.is_save_asked or is_top))
    elif votes.remember > 0 or run.saving.memory.is_due(before, progress, num_samples):
        run.saving.remember(run.state)
    run.saving.poll()


def _log(run: Run) -> None:
    loss_sum, weight, skipped = run.world.sum([float(run.loss_sum), run.loss_weight, float(run.new_skipped)])
    run.loss_sum, run.loss_weight, run.new_skipped = 0.0, 0.0, 0
    snapshot = run.meter.snapshot
    snapshot.samples_skipped += int(skipped)
    snapshot.loss = loss_sum / weight if weight else None
    rates = run.meter.interval()
    run.meter.progressed(min(1.0, run.length.done(run.progress) / run.length.total))
    snapshot.epoch = run.progress.samples / run.train.num_samples
    scale = {"loss_scale": loss_scale.of(spec, run.progress)} if (spec := run.spec).precision == "fp16" else {}
    told = {"loss": snapshot.loss, "lr": snapshot.lr, "grad_norm": snapshot.grad_norm, **scale}
    run.journal.write("step", run.progress, **told, **rates)


def _evaluate(run: Run) -> bool:
    """Whether this is one of the best evaluations; leaves the debt in place when all ranks were told to go meanwhile."""
    started = time.perf_counter()
    run.profiler.rest(run.progress)
    run.saving.fence()  # evaluation may exchange the weights for their average
    with run.meter.phase("eval"):
        values = evaluate(run)
    if values is None:
        run.is_stopping = True
        return False
    best, early = run.spec.checkpoint.best, run.spec.early_stop
    top = best is not None and is_among_best(best, run.progress, values)
    if early and should_stop(early, run.progress, values):
        run.progress.finished = "early stop"
    plateau.see(run.spec.schedule, run.progress, values)
    run.meter.snapshot.metrics = dict(values)
    seconds = time.perf_counter() - started
    details = {"details": run.details} if run.details else {}
    run.journal.write("eval", run.progress, values=values, seconds=seconds, is_best=top, **details)
    return top


def _metric(run: Run) -> float | None:
    best = run.spec.checkpoint.best
    return run.progress.metrics.get(best.monitor) if best else None


def _finish(run: Run) -> None:
    """One evaluation of the final weights, one last commit, then the completion marker; or the commit of a stop."""
    progress = run.progress
    if not run.is_stopping:
        progress.finished = progress.finished or "duration"
        if run.val and progress.evaluated_step != progress.step:
            progress.owes_eval = True
            _evaluate(run)
    if run.is_stopping:
        run.journal.write("stop", progress, reason="signal" if run.stop.is_set else "a peer was told to go")
    with run.meter.phase("checkpoint"):
        metric = _metric(run) if progress.evaluated_step == progress.step else None
        run.saving.save_last(run.state, metric=metric, is_end=not run.is_stopping)
    run.profiler.close(hurry=run.is_stopping)
    if run.compiled:
        run.compiled.close()
    if not run.is_stopping:
        run.journal.write("end", progress, reason=progress.finished)
        run.saving.mark_done(progress)
