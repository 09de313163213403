"""Pictures as files, drawn without a display."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from ktrain.errors import KtrainError, StorageError
from ktrain.tune.extra import need

FORMS: Final = (".png", ".svg", ".pdf")
COLOURS: Final = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2")
Panel = Callable[[Any], None]  # draws into matplotlib's axes


def check(path: Path) -> Path:
    """The path itself; KtrainError when no picture has such a name. Asked before work is done for it."""
    if path.suffix.lower() not in FORMS:
        raise KtrainError(f"{path} is no picture; let its name end in {', '.join(FORMS)}")
    need("matplotlib.figure")
    return path


def draw(path: Path, panels: Sequence[Panel], *, title: str) -> Path:
    """Writes the panels side by side, and says where: the absolute path. StorageError when it cannot be written."""
    check(path)
    # No pyplot: it keeps every figure, and looks for a display.
    figure = need("matplotlib.figure").Figure(figsize=(6.0 * len(panels), 4.2), layout="constrained", dpi=110)
    figure.suptitle(title, fontsize=11)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        panel(axes)
        axes.spines[["top", "right"]].set_visible(False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error
    return path.resolve()
