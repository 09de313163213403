"""The report as one HTML page that needs nothing but itself."""

import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ktrain import progress
from ktrain.goodput import BADPUT, PRODUCTIVE
from ktrain.goodput.tell import Spent, words
from ktrain.history import Head
from ktrain.records import Record, Records
from ktrain.report import chart, timeline
from ktrain.report.matrix import matrices
from ktrain.report.style import STYLE
from ktrain.units import counted, format_bytes


def page(
    *,
    title: str,
    url: str,
    records: Records,
    head: Head | None,
    spec: Mapping[str, Any],
    spent: Spent,
    price: float | None = None,
) -> str:
    """The whole page; everything that comes from the run is escaped."""
    lives = timeline.epochs(records.all)
    parts = [
        f"<h1>{escape(title)}</h1><p class='url'>{escape(url)}</p>",
        _facts(records, head, spent, lives, price),
        _curves(records, lives),
        matrices(records),
        _ledger(spent),
        _lives(lives),
        _checkpoints(records, head),
        _about(records, spec),
    ]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def numbers(records: Records, head: Head | None, spent: Spent, price: float | None = None) -> dict[str, Any]:
    """The page's numbers, for `-o json`."""
    return {
        "state": state(records, head),
        "step": head.newest.step if head and head.newest else 0,
        "metrics": _last_metrics(records),
        "goodput": spent.numbers(price),
        "epochs": [
            {
                "epoch": it.name,
                "from": it.first_step,
                "to": it.last_step,
                "kept": it.kept_step,
                "end": it.end or "cut off",
            }
            for it in timeline.epochs(records.all)
        ],
        "checkpoints": [
            {"step": it.step, "metric": it.metric, "bytes": it.size_bytes} for it in (head.commits if head else ())
        ],
    }


def state(records: Records, head: Head | None) -> str:
    """In a word or two."""
    if head and head.done:
        reason = next((it["reason"] for it in reversed(records.all) if it["kind"] == "end"), "duration")
        return f"done ({reason})"
    last = records.all[-1]["kind"] if records.all else ""
    return {"stop": "stopped", "error": "failed"}.get(last, "not finished")


def _last_metrics(records: Records) -> dict[str, float]:
    evals = records.of("eval")
    return dict(evals[-1]["values"]) if evals else {}


def _facts(
    records: Records, head: Head | None, spent: Spent, lives: Sequence[timeline.Epoch], price: float | None
) -> str:
    ratio = spent.time.ratio
    facts = [
        ("state", state(records, head)),
        ("step", str(head.newest.step if head and head.newest else 0)),
        ("wall time", progress.length(spent.time.wall)),
        ("goodput", "unknown" if ratio is None else f"{100 * ratio:.1f} %"),
        ("restarts", str(max(0, len(lives) - 1))),
        *((f"cost{which}", f"{value:,.2f}") for which, value in _costs(spent, price)),
        *((name, f"{value:.4g}") for name, value in _last_metrics(records).items()),
    ]
    return (
        "<dl class='facts'>"
        + "".join(f"<div><dt>{escape(n)}</dt><dd>{escape(v)}</dd></div>" for n, v in facts)
        + "</dl>"
    )


def _costs(spent: Spent, price: float | None) -> list[tuple[str, float]]:
    if price is None:
        return []
    found = spent.cost(price)
    return [("", found["total"]), (" of badput", found["badput"])]


def _curves(records: Records, lives: Sequence[timeline.Epoch]) -> str:
    steps, evals = records.of("step"), records.of("eval")
    names = sorted({name for record in evals for name in record["values"]})
    marks = sorted({float(life.first_step) for life in lives[1:]})

    def series(name: str, label: str) -> chart.Line:
        return chart.Line(label, tuple((it["step"], it[name]) for it in steps if it.get(name) is not None))

    def metric(name: str) -> chart.Line:
        return chart.Line(name, tuple((it["step"], it["values"][name]) for it in evals if name in it["values"]))

    charts = [
        ("Loss", [series("loss", "train/loss"), metric("val/loss")]),
        *((name, [metric(name)]) for name in names if name != "val/loss"),
        ("Learning rate", [series("lr", "lr")]),
        ("Gradient norm", [series("grad_norm", "norm before clipping")]),
        ("Samples per second", [series("samples_per_second", "samples/s")]),
        ("Seconds per step", [series("step_seconds", "step"), series("data_seconds", "waiting for data")]),
    ]
    drawn = ((title, chart.lines(lines, x_label="step", marks=marks)) for title, lines in charts)
    return (
        "<div class='charts'>"
        + "".join(f"<figure><figcaption>{escape(t)}</figcaption>{svg}</figure>" for t, svg in drawn if svg)
        + "</div>"
    )


def _ledger(spent: Spent) -> str:
    time = spent.time
    parts = [*((it, time.seconds[it]) for it in (PRODUCTIVE, *BADPUT)), ("uncommitted", time.pending)]
    parts = [(name, seconds) for name, seconds in parts if seconds > 0]
    if not parts:
        return ""
    rows = [
        (
            f"<span class='swatch c-{name}'></span>{words(name)}",
            progress.length(seconds),
            f"{100 * seconds / time.wall:.1f} %",
        )
        for name, seconds in parts
    ]
    return "<h2>Where the time went</h2>" + chart.bar(parts) + _table(("", "time", "share"), rows, raw=True)


def _lives(lives: Sequence[timeline.Epoch]) -> str:
    rows = [
        (
            it.name, _clock(it.began), progress.length(it.ended - it.began), str(it.world_size),
            f"{it.first_step} to {it.last_step}", str(it.last_step - it.kept_step), it.end or "cut off",
        )
        for it in lives
    ]  # fmt: skip
    return "<h2>Attempts</h2>" + _table(("epoch", "began", "lasted", "ranks", "steps", "lost", "ended by"), rows)


def _checkpoints(records: Records, head: Head | None) -> str:
    kept = {commit.step: commit for commit in (head.commits if head else ())}
    rows = [
        (
            str(it["step"]), format_bytes(it["size_bytes"]), f"{1000 * it['stall_seconds']:.1f} ms",
            f"{it['seconds']:.2f} s" if it.get("seconds") is not None else "", "" if it["committed"] else str(it.get("error", "failed")),
            "kept" if it["step"] in kept else "",
        )
        for it in records.of("checkpoint")[-30:]
    ]  # fmt: skip
    return "<h2>Checkpoints</h2>" + _table(("step", "size", "stall", "durable after", "error", ""), rows)


def _about(records: Records, spec: Mapping[str, Any]) -> str:
    start: Record = next((it for it in reversed(records.all) if it["kind"] == "start"), {})
    versions = ", ".join(f"{name} {version}" for name, version in (start.get("versions") or {}).items())
    facts = f"{versions}; {counted(start['world_size'], 'rank') if 'world_size' in start else '? ranks'} on {start.get('device', '?')}"
    unread = f"<p>{counted(records.unreadable, 'line')} could not be read.</p>" if records.unreadable else ""
    rows = [(path, value) for path, value in _flat(spec) if value not in {"None", "{}", "[]"}]
    return f"<h2>What ran</h2><p>{escape(facts)}</p>{unread}<details><summary>spec</summary>{_table(('key', 'value'), rows)}</details>"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, raw: bool = False) -> str:
    if not rows:
        return "<p>none</p>"
    cells = (lambda text: text) if raw else escape
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{cells(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        return [row for key, inner in value.items() for row in _flat(inner, f"{path}.{key}" if path else str(key))]
    return [(path, str(value))]


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
