"""What is said at the end of a run: how it went, where things are, and what to type next. Pure."""

from collections.abc import Mapping
from typing import Any

from ktrain.history import Head
from ktrain.local import progress
from ktrain.local.history import Taken
from ktrain.names import CliExit


def text(
    *,
    code: CliExit,
    taken: Taken,
    head: Head | None,
    seconds: float,
    cause: Mapping[str, Any],
    job_file: str,
    metrics: Mapping[str, float],
) -> str:
    """A few lines."""
    lines = [_outcome(code, head, seconds, cause)]
    if metrics:
        lines.append("  " + "  ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    lines += [f"  {name:<12} {value}" for name, value in _places(taken, head)]
    lines += [f"  next: {command}" for command in _next(code, job_file)]
    return "\n".join(lines)


def already_done(taken: Taken, job_file: str) -> str:
    """For a run that has nothing left to train."""
    lines = [f"this run is already done, at step {taken.step}"]
    lines += [f"  {name:<12} {value}" for name, value in _places(taken, taken.head)]
    lines += [f"  next: ktrain report {job_file}", f"  next: ktrain run {job_file} --fresh   (a new run beside it)"]
    return "\n".join(lines)


def _outcome(code: CliExit, head: Head | None, seconds: float, cause: Mapping[str, Any]) -> str:
    took = progress.length(seconds)
    step = head.newest.step if head and head.newest else None
    if code is CliExit.OK:
        return f"done at step {step} after {took}"
    if code is CliExit.JOB_FAILED:
        rank = f" on rank {cause['rank']}" if cause.get("rank") is not None else ""
        message = str(cause.get("message") or "no message").strip()
        return f"failed after {took}: {cause.get('cause', 'unknown')} (exit {cause.get('code')}){rank}: {message}"
    return f"stopped after {took}" + (f", saved at step {step}" if step is not None else ", nothing was saved yet")


def _places(taken: Taken, head: Head | None) -> list[tuple[str, str]]:
    places = [("run", taken.url)]
    if head and head.newest:
        places.append(("last", f"step {head.newest.step}"))
        scored = [commit for commit in head.commits if commit.metric is not None]
        places += [("ranked", ", ".join(f"step {it.step} ({it.metric:.4g})" for it in scored))] if scored else []
    return places


def _next(code: CliExit, job_file: str) -> list[str]:
    if code is CliExit.OK:
        return [f"ktrain report {job_file}"]
    if code is CliExit.JOB_FAILED:
        return [f"ktrain run {job_file}   (when it is mended: goes on from the last commit)"]
    return [f"ktrain run {job_file}   (goes on from there)"]
