"""`ktrain compare`."""

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ktrain.cli.common import Format, Output, say, show
from ktrain.errors import KtrainError
from ktrain.names import CliExit
from ktrain.units import counted

if TYPE_CHECKING:
    from ktrain.tune.compare import Comparison, Tested
    from ktrain.tune.sides import Pairs, Side


class At(StrEnum):
    """Which evaluation of a run counts."""

    last = "last"
    best = "best"


class Direction(StrEnum):
    """What is better."""

    minimize = "minimize"
    maximize = "maximize"


Better = Annotated[
    Direction | None, typer.Option("--direction", help="Which is better; none: less of a loss, more of anything else.")
]


def command(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="A B…", help="Each side: a run's or job's folder or URL, or several with commas, or a pattern."
        ),
    ],
    metric: Annotated[str, typer.Option("--metric", help="The metric that is compared.")] = "val/loss",
    at: Annotated[At, typer.Option("--at", help="Its value at the last evaluation, or at the best.")] = At.last,
    direction: Better = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the bootstrap.")] = 0,
    to: Annotated[Path, typer.Option("--to", help="The picture to write: .png, .svg or .pdf.")] = Path("compare.png"),
    output: Output = Format.text,
) -> int:
    """Compare runs by a metric: paired t-test, Wilcoxon, bootstrap. Several seeds or folds on each side; A is the baseline."""
    from ktrain.tune.compare import compare
    from ktrain.tune.compare_picture import picture
    from ktrain.tune.draw import check
    from ktrain.tune.measure import direction_of
    from ktrain.tune.sides import pair, read_side

    if len(runs) < 2:
        raise typer.BadParameter("name at least two sides: ktrain compare A B")
    check(to)
    better = direction.value if direction else direction_of(metric)
    sides = [read_side(it, metric, at=at.value, direction=better) for it in runs]
    _refuse_nan(sides, metric)
    pairs = [pair(sides[0], side) for side in sides[1:]]
    found = [compare([it.value for it in two.a], [it.value for it in two.b], seed=seed) for two in pairs]
    path = picture(to, sides, pairs, metric)
    if output is not Format.text:
        show(_document(metric, better, sides, pairs, found, path), output)
        return CliExit.OK
    _print(metric, better, sides, pairs, found)
    say(f"wrote {path}")
    return CliExit.OK


def _refuse_nan(sides: "list[Side]", metric: str) -> None:
    for member in (member for side in sides for member in side.members):
        if not math.isfinite(member.value):
            raise KtrainError(f"{metric} of {member.run} is {member.value}; leave this run out, or take --at best")


def _document(
    metric: str, better: str, sides: "list[Side]", pairs: "list[Pairs]", found: "list[Comparison]", path: Path
) -> dict[str, Any]:
    return {
        "metric": metric,
        "direction": better,
        "sides": [
            {"name": side.name, "runs": [{"name": it.name, "run": it.run, "value": it.value} for it in side.members]}
            for side in sides
        ],
        "comparisons": [
            {"a": sides[0].name, "b": side.name, "paired_by": two.by, "unpaired": two.alone, **it.document()}
            for side, two, it in zip(sides[1:], pairs, found, strict=True)
        ],
        "picture": str(path),
    }


def _print(metric: str, better: str, sides: "list[Side]", pairs: "list[Pairs]", found: "list[Comparison]") -> None:
    from ktrain.tune.table import print_table

    print_table(
        ["side", "runs", f"mean {metric}", "std", "difference", "95 % interval", "t-test p", "Wilcoxon p"],
        [
            _row(sides[0].name, len(sides[0].members), found[0].mean_a, found[0].std_a, None),
            *(_row(side.name, it.pairs, it.mean_b, it.std_b, it) for side, it in zip(sides[1:], found, strict=True)),
        ],
        left=1,
    )
    for side, two, it in zip(sides[1:], pairs, found, strict=True):
        for note in (*_about(two, len(sides[0].members)), _verdict(it, better), *it.notes):
            say(f"{side.name}: {note}")
    if len(found) > 1:
        say(
            f"{len(found)} comparisons with one baseline: p is of each alone; for all together compare it with {0.05 / len(found):.3g}"
        )


def _row(name: str, runs: int, mean: float, std: float | None, it: "Comparison | None") -> tuple[str, ...]:
    if it is None:
        return name, str(runs), f"{mean:.5g}", _number(std), "", "", "", ""
    interval = f"{it.interval[0]:+.4g} to {it.interval[1]:+.4g}" if it.interval else ""
    return name, str(runs), f"{mean:.5g}", _number(std), f"{it.difference:+.4g}", interval, _p(it.t), _p(it.wilcoxon)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _p(test: "Tested") -> str:
    return "" if test.p is None else f"{test.p:.3g}"


def _about(two: "Pairs", runs: int) -> list[str]:
    told = [f"paired by {two.by}"] if runs > 1 else []
    return [*told, f"left out without a partner: {counted(two.alone, 'run')}"] if two.alone else told


def _verdict(it: "Comparison", better: str) -> str:
    """By the interval, which says how much and not only whether."""
    if not it.difference:
        return "no difference"
    word = "better" if (it.difference < 0) == (better == "minimize") else "worse"
    if it.interval is None:
        return f"{word} by {abs(it.difference):.4g} in one pair, which may be chance"
    is_sure = it.interval[0] > 0 or it.interval[1] < 0
    return f"{word} by {abs(it.difference):.4g} on average" + ("" if is_sure else ", which may be chance")
