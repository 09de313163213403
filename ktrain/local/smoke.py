"""`ktrain run --smoke`: trains, evaluates, saves, resumes and learns, small and in a temporary place, with a verdict on each."""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ktrain.local.mapping import Machine, adapt
from ktrain.local.once import Run, train_once
from ktrain.local.run import Interrupts
from ktrain.local.small import LEARN_STEPS, RANKS, STEPS, held, smoked
from ktrain.local.verdict import Verdict
from ktrain.names import CliExit
from ktrain.picture import Picture
from ktrain.spec import TrainingJob
from ktrain.units import counted

ENDS: Final = 5  # records at each end of the curve: dropout makes single ones jump
LEAST: Final = 1e-3  # of the loss: what counts as falling


@dataclass
class Quiet:
    """Keeps what the ranks write, for the case that something fails."""

    lines: list[str] = field(default_factory=list)

    def output(self, line: str) -> None:
        """Kept."""
        self.lines.append(line)

    def event(self, text: str) -> None:
        """Nobody asked."""

    def update(self, picture: Picture) -> None:
        """Nobody looks."""

    def close(self) -> None:
        """Nothing is open."""


def smoke(job: TrainingJob, folder: Path, tell: Callable[[Verdict], None]) -> tuple[CliExit, Sequence[str]]:
    """Tells each verdict as it is known; the exit code, and what the ranks wrote where one of them failed."""
    interrupts = Interrupts()
    try:
        with tempfile.TemporaryDirectory(prefix="ktrain-smoke-") as place:
            return _smoke(lambda it, fresh: _run(it, folder, f"file://{place}", interrupts, fresh=fresh), job, tell)
    finally:
        interrupts.restore()


def _smoke(
    run: Callable[[TrainingJob, bool], tuple[Run, Sequence[str]]], job: TrainingJob, tell: Callable[[Verdict], None]
) -> tuple[CliExit, Sequence[str]]:
    stages: tuple[tuple[str, TrainingJob, bool, Callable[[Run], list[Verdict]]], ...] = (
        ("trains", smoked(job, STEPS - 1), False, begun),
        ("resumes", smoked(job, STEPS), False, resumed),
        ("learns", held(job), True, learnt),
    )
    for name, small, fresh, judge in stages:
        done, lines = run(small, fresh)
        if not done.is_done:
            tell(Verdict(name, ok=False, told=_cause(done.ended.cause)))
            return done.ended.code, lines
        for verdict in judge(done):
            tell(verdict)
            if not verdict.ok:
                return CliExit.JOB_FAILED, ()
    return CliExit.OK, ()


def begun(run: Run) -> list[Verdict]:
    """Steps, an evaluation where the job has data for it, a checkpoint."""
    losses = [record.get("loss") for record in run.records.of("step")]
    is_finite = bool(losses) and all(loss is not None and math.isfinite(loss) for loss in losses)
    verdicts = [Verdict("trains", is_finite, f"{counted(len(losses), 'step')} on {RANKS} ranks, loss {_short(losses)}")]
    for record in run.records.of("eval")[-1:]:
        verdicts.append(Verdict("evaluates", ok=True, told=_values(record["values"])))
    newest = run.head.newest if run.head else None
    told = f"a checkpoint of step {newest.step}, {newest.size_bytes} bytes" if newest else "there is no checkpoint"
    return [*verdicts, Verdict("saves", newest is not None, told)]


def resumed(run: Run) -> list[Verdict]:
    """From the checkpoint of the run before, to its end."""
    start, end = run.records.of("start")[-1], run.records.of("end")
    is_right = start["restored_step"] == STEPS - 1 and bool(end) and end[-1]["step"] == STEPS
    return [Verdict("resumes", is_right, f"from step {start['restored_step']} to step {STEPS}")]


def learnt(run: Run) -> list[Verdict]:
    """One batch by heart: whatever the data, its loss falls."""
    losses = [record["loss"] for record in run.records.of("step")]
    first, last = (sum(part) / len(part) for part in (losses[:ENDS], losses[-ENDS:]))
    told = f"the loss of one batch, {LEARN_STEPS} times: {first:.4g} → {last:.4g}"
    if last < first - LEAST * abs(first):
        return [Verdict("learns", ok=True, told=told)]
    hint = "it does not fall; look at optim.lr, at the loss and its targets, and at debug.checkGrads"
    return [Verdict("learns", ok=False, told=f"{told}; {hint}")]


def _run(job: TrainingJob, folder: Path, url: str, interrupts: Interrupts, *, fresh: bool) -> tuple[Run, Sequence[str]]:
    view = Quiet()
    mapped = adapt(job, Machine(gpus=0, cores=RANKS), nodes=1, procs=RANKS)
    return train_once(mapped, folder, url, view, interrupts, fresh=fresh), view.lines


def _cause(cause: Mapping[str, Any]) -> str:
    message = str(cause.get("message") or "it was stopped").strip()
    return message.split(f"exited with {cause.get('code')}: ", 1)[-1]


def _short(losses: Sequence[float | None]) -> str:
    return " → ".join(f"{loss:.4g}" if isinstance(loss, float) else "none" for loss in (*losses[:1], *losses[-1:]))


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items() if isinstance(value, int | float))
