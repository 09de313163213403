"""The picture of a sweep: the loss over the learning rate, and where it falls most steeply."""

from pathlib import Path
from typing import Any

from ktrain.tune.draw import COLOURS, draw
from ktrain.tune.sweep import Sweep


def draw_sweep(path: Path, sweep: Sweep) -> Path:
    """Each step as a dot, the smoothed loss as a line."""

    def losses(axes: Any) -> None:
        rates = [it.lr for it in sweep.points]
        axes.scatter(rates, [it.loss for it in sweep.points], s=8, color="#9ca3af", label="loss")
        axes.plot(rates, [it.smoothed for it in sweep.points], color=COLOURS[0], label="smoothed")
        for rate, colour, name in (
            (sweep.suggestion, COLOURS[2], "steepest fall"), (sweep.diverged_at, COLOURS[1], "broke away"),
        ):  # fmt: skip
            if rate is not None:
                axes.axvline(rate, color=colour, linewidth=1, label=f"{name}: {rate:.2g}")
        axes.set(xlabel="learning rate", ylabel="loss", xscale="log")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)

    return draw(path, [losses], title="loss over the learning rate")
