"""examples/script: ten lines of ktrain in a plain DDP script, and what they buy."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "script"
LOSS = re.compile(r"loss ([-\d.e]+)")


def test_ktrain_adds_ten_lines_at_most() -> None:
    before = {line.strip() for line in (EXAMPLE / "before.py").read_text(encoding="utf-8").splitlines()}
    after = [line.strip() for line in (EXAMPLE / "after.py").read_text(encoding="utf-8").splitlines()]
    added = [line for line in after if line not in before and not line.startswith(('"""', "from torch.utils.data"))]
    assert len(added) <= 10, added


def losses(text: str) -> list[str]:
    return LOSS.findall(text)


def start(folder: Path, ranks: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ktrain", "run", str(EXAMPLE / "job.yaml"), "--set", f"storage.url={folder}",
         "--set", f"procsPerNode={ranks}"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env={**os.environ, "EPOCHS": "40"},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
def test_a_killed_script_goes_on_bit_equal(ranks: int, tmp_path: Path) -> None:
    """SIGKILL to everything in the middle; the losses from the restored step on are those of the undisturbed run."""
    _, err = start(tmp_path / "whole", ranks).communicate(timeout=120)
    whole = losses(err)
    assert len(whole) == 40 * 2000 // 60

    killed = start(tmp_path / "killed", ranks)
    assert killed.stderr is not None
    seen = 0
    for line in killed.stderr:
        seen += bool(LOSS.search(line))
        if seen >= 300:
            break
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    _, err = start(tmp_path / "killed", ranks).communicate(timeout=120)
    resumed = losses(err)
    assert 0 < len(resumed) < len(whole)
    assert resumed == whole[-len(resumed) :]
