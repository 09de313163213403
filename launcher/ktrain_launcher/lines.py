"""A stream of bytes as lines for people: progress bars shortened, long lines cut, anything else made readable."""

from typing import Final

MAX_LINE: Final = 16 * 1024
"""Longer lines are forwarded in pieces of this many bytes, so that memory is bounded whatever a rank prints."""


class Lines:
    """Takes chunks as they come and gives whole lines, without their ends."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that this chunk completes."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        lines = [piece for line in whole for piece in _pieces(_shown(line))]
        # Of an unfinished progress bar only the newest state matters, and it is kept until its line ends.
        if b"\r" in self._rest[:-1]:
            self._rest = self._rest[self._rest.rindex(b"\r", 0, -1) + 1 :]
        while len(self._rest) > MAX_LINE:
            lines.append(_readable(self._rest[:MAX_LINE]))
            self._rest = self._rest[MAX_LINE:]
        return lines

    def end(self) -> list[str]:
        """What is left when the stream has ended in the middle of a line."""
        rest, self._rest = self._rest, b""
        return _pieces(_shown(rest)) if rest else []


def _shown(line: bytes) -> bytes:
    """What a terminal would show at the end of a line that carriage returns have overwritten."""
    return line.rstrip(b"\r").rpartition(b"\r")[2]


def _pieces(line: bytes) -> list[str]:
    return [_readable(line[begin : begin + MAX_LINE]) for begin in range(0, max(1, len(line)), MAX_LINE)]


def _readable(line: bytes) -> str:
    """Text with every byte that is none made visible; tabs and colours stay."""
    text = line.decode("utf-8", errors="backslashreplace")
    return "".join(c if c.isprintable() or c in "\t\x1b" else f"\\x{ord(c):02x}" for c in text)
