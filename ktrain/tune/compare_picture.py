"""The picture of a comparison: the curves, and each pair as a line from one side to the other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ktrain.tune.draw import COLOURS, draw
from ktrain.tune.sides import Pairs, Side


def picture(path: Path, sides: Sequence[Side], pairs: Sequence[Pairs], metric: str) -> Path:
    """Curves of all runs left, values of the pairs right."""

    def curves(axes: Any) -> None:
        for number, side in enumerate(sides):
            for member in side.members:
                axes.plot(member.curve.steps, member.curve.values, marker=".", linewidth=1, color=_colour(number))
        axes.set(xlabel="step", ylabel=metric)
        axes.grid(alpha=0.3)

    def values(axes: Any) -> None:
        for number, it in enumerate(pairs, start=1):
            for left, right in zip(it.a, it.b, strict=True):
                axes.plot([0, number], [left.value, right.value], color="#9ca3af", linewidth=0.8, zorder=1)
        for number, side in enumerate(sides):
            found = [member.value for member in side.members]
            axes.scatter([number] * len(found), found, color=_colour(number), zorder=2)
        axes.set_xticks(range(len(sides)), [_short(side.name) for side in sides])
        axes.set(ylabel=metric, xlim=(-0.5, len(sides) - 0.5))
        axes.grid(alpha=0.3, axis="y")

    return draw(path, [curves, values], title=f"{metric}: {' against '.join(_short(side.name) for side in sides)}")


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"…{name[-27:]}"
