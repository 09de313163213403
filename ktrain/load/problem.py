"""What is wrong with a job file, where, and what to write instead."""

from collections.abc import Sequence
from dataclasses import dataclass

from ktrain.errors import SpecError


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. line and column count from 1; line 0: it is in no file, but on the command line."""

    code: str
    message: str
    file: str
    line: int = 0
    column: int = 0
    path: str = ""
    hint: str = ""
    source_line: str = ""
    length: int = 1

    def __str__(self) -> str:
        """As compilers show it: the place, the line, a caret, and the hint."""
        if not self.line:
            hint = f"\n  = {self.hint}" if self.hint else ""
            return f"error: {self.message}\n  --> {self.file}{hint}"
        gutter = " " * len(str(self.line))
        source = self.source_line.replace("\t", " ")
        shown, caret_at = _window(source, self.column - 1)
        caret = " " * caret_at + "^" * max(1, min(self.length, len(shown) - caret_at))
        return (
            f"error: {self.message}\n"
            f"{gutter}--> {self.file}:{self.line}:{self.column}\n"
            f"{gutter} |\n"
            f"{self.line} | {shown}\n"
            f"{gutter} | {caret}{' ' + self.hint if self.hint else ''}"
        )

    def document(self) -> dict[str, object]:
        """For `-o json`."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
        }


class SpecErrors(SpecError):  # noqa: N818  -- several of them
    """All mistakes of a job file at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n\n".join(str(problem) for problem in self.problems))


def _window(line: str, at: int, width: int = 110) -> tuple[str, int]:
    """A line that is short enough to be read, and where the place is in it."""
    if len(line) <= width:
        return line, min(at, len(line))
    begin = max(0, min(at - 30, len(line) - width))
    return line[begin : begin + width], at - begin
