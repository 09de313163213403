"""What the pages say works: the notebook runs, links lead somewhere, and keys are called as they are."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
KEY = re.compile(r"`(?:spec\.)?((?:trainer|autoscale|restart|scheduling|storage|hang|metrics)(?:\.(?!py`)\w+)+)`")
FILES = ROOT / "deploy" / "helm" / "ktrain" / "files"


def test_the_notebook_of_the_training_page_runs(tmp_path: Path) -> None:
    (code,) = BLOCK.findall((ROOT / "docs" / "train.md").read_text(encoding="utf-8"))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "val/accuracy" in done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def keys(node: Any) -> Iterator[str]:
    """All that a job file may have."""
    if isinstance(node, dict):
        yield from node.get("properties") or ()
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from keys(inner)


@pytest.mark.parametrize("page", [*PAGES, FILES / "rules.yaml"], ids=lambda page: str(page.relative_to(ROOT)))
def test_keys_of_the_job_file_are_called_as_they_are(page: Path) -> None:
    known = set(keys(json.loads((ROOT / "schema" / "job.schema.json").read_text(encoding="utf-8"))))
    told = KEY.findall(page.read_text(encoding="utf-8"))
    assert [name for name in told if not set(name.split(".")) <= known] == []
