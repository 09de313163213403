"""Image files as tensors."""

from pathlib import Path
from typing import Any, Final

from ktrain.errors import DataError
from ktrain.extras import require

EXTENSIONS: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"})
MODES: Final = {"rgb": "RGB", "gray": "L"}


def read_image(path: Path, place: str, mode: str) -> Any:
    """torchvision's Image, uint8 (channels, height, width); DataError when it cannot be read."""
    vision = require("torchvision.tv_tensors", "data", "reading images")
    pillow = require("PIL.Image", "data", "reading images")
    functional = require("torchvision.transforms.v2.functional", "data", "reading images")
    try:
        with pillow.open(path) as image:
            return vision.Image(functional.pil_to_tensor(image.convert(MODES[mode])))
    except (OSError, SyntaxError, ValueError) as error:  # SyntaxError: what Pillow says of a broken PNG
        told = (
            error.strerror if isinstance(error, OSError) and error.strerror else f"this is no readable image: {error}"
        )
        raise DataError(f"{place}: {path}: {told}") from None


def check_mode(mode: str, where: str) -> str:
    """The mode itself; DataError when there is none of that name."""
    if mode not in MODES:
        raise DataError(f"mode is {mode!r}; it can be {' or '.join(MODES)}", f"{where}.args")
    require("torchvision", "data", "reading images")
    return mode
