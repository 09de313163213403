"""A picture of the job as text: one line for logs. Pure."""

from ktrain.picture import Picture
from ktrain.units import counted


def line(picture: Picture, *, now: float) -> str:
    """`step 120/2000  loss 2.31  val/loss 2.40  84 samples/s  ETA 3m10s  saved at 100 (12s ago)`."""
    first = picture.first
    if not first or not first.get("step"):
        return phase(picture)
    parts = [_step(first)]
    if first.get("loss") is not None:
        parts.append(f"loss {first['loss']:.4g}")
    parts += [f"{name} {value:.4g}" for name, value in first.get("metrics", {}).items()]
    if first.get("samples_per_second"):
        parts.append(f"{first['samples_per_second']:.3g} samples/s")
    if first.get("eta_seconds", -1) >= 0 and first.get("phase") == "train":
        parts.append(f"ETA {length(first['eta_seconds'])}")
    parts.append(saved(picture, now=now))
    if picture.restarts:
        parts.append(f"{counted(picture.restarts, 'restart')}")
    return "  ".join(part for part in parts if part)


def phase(picture: Picture) -> str:
    """What happens before the first step."""
    words = {"start": "building", "restore": "restoring", "data": "loading data", "train": "first step"}
    return words.get(picture.first.get("phase", ""), picture.state)


def saved(picture: Picture, *, now: float) -> str:
    """The newest commit and its age."""
    first = picture.first
    if first.get("checkpoint_step", -1) < 0:
        return "nothing saved yet"
    told = [f"{length(now - first['checkpoint_at'])} ago"] if first.get("checkpoint_at") else []
    if first.get("checkpoint_interval_seconds"):
        told.append(f"auto: every {length(first['checkpoint_interval_seconds'])}")
    return f"saved at {first['checkpoint_step']}" + (f" ({', '.join(told)})" if told else "")


def length(seconds: float) -> str:
    """`45s`, `3m10s`, `2h05m`, `3d04h`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def _step(first: dict[str, object]) -> str:
    total = first.get("total_steps") or 0
    assert isinstance(total, int | float)
    return f"step {first['step']}/{total:.0f}" if total else f"step {first['step']}"
