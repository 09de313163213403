"""A job on this machine under faults, then once more without them, and what is to be said of the two."""

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import xxhash

from ktrain.chaos import judge
from ktrain.chaos.game import Game
from ktrain.chaos.mischief import Mischief
from ktrain.chaos.trace import Fault, Struck
from ktrain.checkpoints.read import read_manifest
from ktrain.checkpoints.verify import verify
from ktrain.goodput.keep import accounts
from ktrain.goodput.tell import Spent
from ktrain.goodput.total import total
from ktrain.local.mapping import Mapped
from ktrain.local.once import Run, train_once
from ktrain.local.run import Interrupts
from ktrain.local.verdict import Verdict
from ktrain.local.view import View
from ktrain.names import ENV_UNSTEADY
from ktrain.spec import TrainingJob
from ktrain.spec.record import Log
from ktrain.units import Span, counted


@dataclass(frozen=True, slots=True)
class Field:
    """Where it takes place: nothing of it is in the job's own storage."""

    mapped: Mapped
    folder: Path  # of the job file: where the code is
    open_view: Callable[[str], View]
    interrupts: Interrupts


def play(field: Field, faults: Sequence[Fault], *, with_twin: bool) -> Game:
    """Trains under these faults, and beside it without any where that is wanted."""
    place = Path(tempfile.mkdtemp(prefix="ktrain-chaos-"))
    try:
        view = field.open_view("under faults")
        mischief = Mischief(faults, place / "plan", view.event)
        run = _train(field, place, "chaos", view, mischief)
        twin = _train(field, place, "twin", field.open_view("undisturbed"), None) if with_twin and run.is_done else None
        if field.interrupts.count:  # two halves of runs tell nothing
            return Game(field.interrupts.exit, (), tuple(mischief.struck))
        return _judged(field.mapped.job, faults, tuple(mischief.struck), run, twin)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _train(field: Field, place: Path, name: str, view: View, mischief: Mischief | None) -> Run:
    mapped = dataclasses.replace(field.mapped, job=_watched(field.mapped.job))
    env = {ENV_UNSTEADY: str(mischief.plan)} if mischief else {}
    attend = mischief.attend if mischief else None
    url = f"file://{place}/{name}"
    return train_once(mapped, field.folder, url, view, field.interrupts, fresh=True, env=env, attend=attend)


def _watched(job: TrainingJob) -> TrainingJob:
    """The same, telling of each step."""
    if (trainer := job.spec.trainer) is None:
        return job
    changed = trainer.model_copy(update={"log": Log(every=Span(1, "step")), "track": ()})
    return job.model_copy(update={"spec": job.spec.model_copy(update={"trainer": changed})})


def _judged(job: TrainingJob, faults: Sequence[Fault], struck: tuple[Struck, ...], run: Run, twin: Run | None) -> Game:
    found = judge.recoveries(struck, run.records)
    verdicts = [_ends(faults, struck, run), judge.never_older(struck, run.records), _whole(run)]
    verdicts += [judge.loses(found, memory_every=judge.memory_every(job)), judge.recovers(found)]
    if twin is not None:
        verdicts += _compared(job, run, twin)
    time = total(accounts(run.storage))
    return Game.judged(verdicts, struck, found, goodput=Spent(time, 0).lines(None)[0], ratio=time.ratio)


def _ends(faults: Sequence[Fault], struck: Sequence[Struck], run: Run) -> Verdict:
    if not run.is_done:
        message = str(run.ended.cause.get("message") or run.ended.cause.get("cause") or "it was stopped").strip()
        return Verdict("ends", ok=False, told=message)
    step = run.head.newest.step if run.head and run.head.newest else 0
    told = f"done at step {step}, after {counted(len(struck), 'fault')}"
    rest = len(faults) - len(struck)
    return Verdict("ends", ok=True, told=told + (f"; it ended before {rest} more" if rest else ""))


def _whole(run: Run) -> Verdict:
    commits = run.head.commits if run.head else ()
    problems = [problem for commit in commits for problem in verify(run.storage, commit, on_bytes=lambda _: None)]
    told = f"every byte of {counted(len(commits), 'checkpoint')} is what was written"
    return Verdict("saves", bool(commits) and not problems, "; ".join(problems[: judge.SHOWN]) or told)


def _compared(job: TrainingJob, run: Run, twin: Run) -> list[Verdict]:
    if not twin.is_done:
        return [Verdict("twin", ok=False, told=f"the undisturbed run failed: {twin.ended.cause.get('message', '')}")]
    is_exact = isinstance(job.spec.nodes, int)
    curve = judge.same_curve(run.records, twin.records, is_exact=is_exact)
    return [curve, judge.same_state(_digest(run), _digest(twin))] if is_exact else [curve]


def _digest(run: Run) -> str | None:
    """Of every tensor of the newest checkpoint, byte by byte; the same whichever objects they lie in."""
    commit = run.head.newest if run.head else None
    if commit is None:
        return None
    manifest, found = read_manifest(run.storage, commit), xxhash.xxh3_128()
    for name, entry in sorted(manifest.tensors.items()):
        found.update(f"{name} {entry.dtype} {entry.shape}\n".encode())
        for chunk in sorted(entry.chunks, key=lambda it: it.offset):
            if chunk.begin < chunk.end:
                found.update(run.storage.read(manifest.objects[chunk.object].key, chunk.begin, chunk.end))
    return found.hexdigest()
