"""New lines of a launcher's log."""

from pathlib import Path


class Tail:
    """Reads what was added since the last look; half a line waits for its other half."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._rest = b""

    def lines(self) -> list[str]:
        """Whole new lines of ranks; the launcher's own, which begin with time=, are for its log only."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read(1 << 20)
        self._at += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        text = (line.decode(errors="replace").rstrip("\r") for line in whole)
        return [line for line in text if line and not line.startswith("time=")]
