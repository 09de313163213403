"""Runs the README's tour for real and writes what the terminal showed into the README.

`--check` runs it too, but only compares: commands, mistakes and endings must be the same, numbers and ids may differ.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- transcript: written by `make transcript`, kept true by tests/house -->", "<!-- end of transcript -->"
TOUR = (
    "ktrain init demo",
    "cd demo",
    "ktrain validate job.yaml --set nodse=2",
    "ktrain run job.yaml --set trainer.duration=8ep",
    "ktrain run job.yaml --set trainer.seed=1",
    "ktrain report job.yaml",
)
KEPT = 9  # lines shown of a long output: the first two and the last


def main() -> int:
    """The exit code: 1 when the README tells something else."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    told = tour()
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    shown, _, after = rest.partition(END)
    if parser.parse_args().check:
        return compare(shown, told)
    README.write_text(f"{before}{BEGIN}\n```console\n{told}```\n{END}{after}", encoding="utf-8")
    return 0


def tour() -> str:
    """The commands with what they print, in a folder of their own."""
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"}
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder).resolve()
        for command in TOUR:
            lines.append(f"$ {command}")
            if command.startswith("cd "):
                here = here / command[3:]
                continue
            done = subprocess.run(command.split(), cwd=here, env=env, capture_output=True, text=True, check=False)
            output = (done.stdout + done.stderr).replace(str(Path(folder).resolve()), "/home/you")
            lines += shorten(output.splitlines())
    return "\n".join(lines) + "\n"


def shorten(lines: list[str]) -> list[str]:
    """The beginning and the end of what is long."""
    lines = [line[:118] for line in lines]
    return lines if len(lines) <= KEPT + 3 else [*lines[:2], "…", *lines[-KEPT:]]


def compare(shown: str, told: str) -> int:
    """Prints the first line that is told differently."""
    ours, theirs = essence(shown), essence(told)
    for line in ours:
        if line not in theirs:
            print(
                f"the README shows a line that the tour no longer prints: {line!r}; run `make transcript`",
                file=sys.stderr,
            )
            return 1
    return 0 if ours else 1


def essence(text: str) -> list[str]:
    """Commands, errors and endings, without numbers, ids and times."""
    wanted = re.compile(r"^(\$|error|done|wrote|\s+next:|\s+spec\.)")
    masked = (
        re.sub(r"\d+(m\d+)?s\b|[0-9a-f]{8}\S*|\d+(\.\d+)?", "N", line)
        for line in text.splitlines()
        if wanted.match(line)
    )
    return list(masked)


if __name__ == "__main__":
    sys.exit(main())
