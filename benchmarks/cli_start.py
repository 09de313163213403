"""How long does the command line take to answer? Whole processes, interleaved, warm."""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _harness import Row, publish

KTRAIN = str(Path(sys.executable).with_name("ktrain"))
GOALS = {"--version": 80, "--help": 150, "render": 350, "validate": 350}


def main() -> None:
    """Measures each command `rounds` times and writes the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    rounds = 7 if parser.parse_args().quick else 31
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([KTRAIN, "init", folder], check=True, capture_output=True)
        job = f"{folder}/job.yaml"
        commands = {
            "bare python": [sys.executable, "-c", "pass"],
            "--version": [KTRAIN, "--version"],
            "--help": [KTRAIN, "--help"],
            "render": [KTRAIN, "render", job, "--set", "image=registry.example/worker:1"],
            "validate": [KTRAIN, "validate", job],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds + 1):
            for name, command in commands.items():
                times[name].append(took(command))
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    rows = [
        Row(
            f"ktrain {name}",
            medians[name],
            "ms",
            medians["bare python"],
            "python -c pass",
            f"<= {goal} ms",
            medians[name] <= goal,
        )
        for name, goal in GOALS.items()
    ]
    publish("cli_start", rows, note=f"wall milliseconds, median of {rounds}, interleaved, warm")


def took(command: list[str]) -> float:
    """Wall milliseconds of one run."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return 1000 * (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
