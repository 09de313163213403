"""Asking the trainer's code about a job, in a process of its own: this one needs no torch and runs no code of the user's."""

import json
import subprocess
import sys
from typing import Any

from ktrain.errors import BuildError
from ktrain.load import Loaded, SpecErrors


def ask(loaded: Loaded, module: str, *args: str) -> dict[str, Any]:
    """The module's answer, a JSON object on its stdout; SpecErrors tell what does not work, and where."""
    # By file name and not by import: torch must not be needed to say that torch is missing.
    done = subprocess.run(
        [sys.executable, "-m", module, *args],
        input=loaded.job.model_dump_json(by_alias=True),
        capture_output=True,
        text=True,
        cwd=loaded.code_dir,
        check=False,
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        told = done.stderr.strip().splitlines()
        raise BuildError(
            f"the job's code ended the check (exit {done.returncode}): {told[-1] if told else 'no output'}"
        ) from None
    if "error" in answer:
        raise SpecErrors([loaded.problem("build", answer["error"], answer.get("where") or "spec")])
    return answer
