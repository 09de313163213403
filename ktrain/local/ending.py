"""What is said at the end of a run: how it went, where things are, and what to type next. Pure."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ktrain import progress
from ktrain.history import Head
from ktrain.names import CliExit
from ktrain.taken import Taken


@dataclass(frozen=True, slots=True)
class Again:
    """The commands for this job file with these settings, ready for a shell."""

    program: str
    job_file: str
    sets: Sequence[str] = ()

    @property
    def run(self) -> str:
        """Goes on."""
        return f"{self.program} {shlex.join(['run', self.job_file, *_options(self.sets)])}"

    @property
    def report(self) -> str:
        """Tells of it; only what says where the run is matters there."""
        places = [it for it in self.sets if it.removeprefix("spec.").startswith(("storage.", "metadata."))]
        return f"{self.program} {shlex.join(['report', self.job_file, *_options(places)])}"


def text(
    *,
    code: CliExit,
    taken: Taken,
    head: Head | None,
    seconds: float,
    cause: Mapping[str, Any],
    again: Again,
    metrics: Mapping[str, float],
) -> str:
    """A few lines."""
    lines = [_outcome(code, head, seconds, cause)]
    if metrics:
        lines.append("  " + "  ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    lines += [f"  {name:<12} {value}" for name, value in _places(taken, head)]
    lines += [f"  next: {command}" for command in _next(code, again, is_saved=bool(head and head.newest))]
    return "\n".join(lines)


def already_done(taken: Taken, again: Again) -> str:
    """For a run that has nothing left to train."""
    lines = [f"this run is already done, at step {taken.step}"]
    lines += [f"  {name:<12} {value}" for name, value in _places(taken, taken.head)]
    lines += [f"  next: {again.report}", f"  next: {again.run} --fresh   (a new run beside it)"]
    return "\n".join(lines)


def _outcome(code: CliExit, head: Head | None, seconds: float, cause: Mapping[str, Any]) -> str:
    took = progress.length(seconds)
    step = head.newest.step if head and head.newest else None
    if code is CliExit.OK:
        return f"done at step {step} after {took}"
    if code is CliExit.JOB_FAILED:
        rank = f" on rank {cause['rank']}" if cause.get("rank") is not None else ""
        message = str(cause.get("message") or "no message").strip()
        message = message.removeprefix(f"rank {cause.get('rank')} exited with {cause.get('code')}: ")
        return f"failed after {took}: {cause.get('cause', 'unknown')} (exit {cause.get('code')}){rank}: {message}"
    if code is CliExit.CONFLICT:
        return f"ended after {took}: another process has taken this run over, and goes on with it"
    return f"stopped after {took}" + (f", saved at step {step}" if step is not None else ", nothing was saved yet")


def _options(sets: Sequence[str]) -> list[str]:
    return [word for it in sets for word in ("--set", it)]


def _places(taken: Taken, head: Head | None) -> list[tuple[str, str]]:
    places = [("run", taken.url)]
    if head and head.newest:
        places.append(("last", f"step {head.newest.step}"))
        scored = [commit for commit in head.commits if commit.metric is not None]
        places += [("ranked", ", ".join(f"step {it.step} ({it.metric:.4g})" for it in scored))] if scored else []
    return places


def _next(code: CliExit, again: Again, *, is_saved: bool) -> list[str]:
    if code is CliExit.OK:
        return [again.report]
    if code is CliExit.JOB_FAILED:
        return [f"{again.run}   (when it is mended{': goes on from the last commit' if is_saved else ''})"]
    if code is CliExit.CONFLICT:
        return [f"{again.run} --fresh   (a new run beside it)"]
    return [f"{again.run}   ({'goes on from there' if is_saved else 'begins anew'})"]
