"""Whatever the bytes: a job or a SpecError, within five seconds of a CPU and 200 MiB. Never a crash."""

import contextlib
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrain.errors import SpecError
from ktrain.load import parse_job
from tests.load.test_load import GOOD

PIECES = (
    "[",
    "]",
    "{",
    "}",
    ": ",
    "- ",
    "\n",
    "  ",
    "&a ",
    "*a",
    "<<: ",
    "!!int ",
    "'",
    '"',
    "|\n",
    "#",
    "?",
    "1e999",
    "~",
    "\t",
    "spec",
    "\0",
    "\ufeff",
    "é",
)


@given(st.text(max_size=300))
@settings(max_examples=300, deadline=2000)
def test_any_text_is_a_job_or_a_spec_error(text: str) -> None:
    attempt(text)


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join), st.integers(0, len(GOOD)))
@settings(max_examples=300, deadline=2000)
def test_a_mutated_file_is_a_job_or_a_spec_error(piece: str, at: int) -> None:
    attempt(GOOD[:at] + piece + GOOD[at:])


@given(st.text(max_size=80), st.text(max_size=80))
@settings(max_examples=200, deadline=2000)
def test_any_override_is_applied_or_refused(key: str, value: str) -> None:
    attempt(GOOD, f"{key}={value}")


def attempt(text: str, *overrides: str) -> None:
    with contextlib.suppress(SpecError):
        parse_job(text, "fuzz.yaml", overrides)


@pytest.mark.slow
def test_hostile_files_cost_neither_time_nor_memory(tmp_path: Path) -> None:
    """In a process of its own, whose peak memory and slowest file are told at the end."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.load.test_fuzz"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    slowest, peak_mib = map(float, done.stdout.split())
    assert slowest < 5
    assert peak_mib < 200


def hostile() -> list[str]:
    """Files that have killed YAML loaders."""
    dice = random.Random(5)
    bomb = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))])
    many = "".join(f"k{n}: {n}\n" for n in range(60_000))
    noise = ["".join(dice.choices(PIECES, k=dice.randrange(2000))) for _ in range(300)]
    return [
        "[" * 1_000_000, "{a: " * 200_000, "- " * 400_000, "? " * 200_000, "&a " * 100_000, "!" * 500_000, bomb, many,
        "x: " + "9" * 900_000, "x: '" + "a" * 900_000 + "'", "x: |\n" + "  y\n" * 200_000, "a" * 1_000_000 + ": 1",
        "- *a\n" * 100_000, "%YAML 1.1\n---\n", "\ufeff" * 1000, "\0", "--- " * 100_000, *noise,
    ]  # fmt: skip


def peak_mib() -> float:
    """Of this program. Linux counts what a process was before it became this one into ru_maxrss, but not into VmHWM."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    seconds = []
    for file in hostile():
        begin = time.process_time()
        attempt(file)
        seconds.append(time.process_time() - begin)
    print(max(seconds), peak_mib())
