"""The learning path: its code runs, its tests exist, and the table of the example is as it says."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "learn").glob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLE = ROOT / "examples" / "tutorial"
sys.path.insert(0, str(EXAMPLE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks of a page as one program; their asserts are what the text around them claims."""
    monkeypatch.chdir(tmp_path)
    code = "".join(BLOCK.findall(page.read_text(encoding="utf-8")))
    exec(compile(code, str(page), "exec"), {"__name__": "page"})


def test_the_tests_that_the_notes_name_are_there() -> None:
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "learn" / "notes.md").read_text(encoding="utf-8"))
    here = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert len(named) >= 6
    assert [name for name in named if f"def {name}(" not in here] == []


def test_the_trials_from_scratch_end_where_torchs_do(tmp_path: Path) -> None:
    import tutorial_compare

    told = {trial.name: tutorial_compare.run(trial, 40)[:3] for trial in tutorial_compare.TRIALS[:4]}
    assert told["AdamW from scratch"] == pytest.approx(told["torch.optim.AdamW"], rel=1e-3)
    assert told["SGD from scratch"] == pytest.approx(told["torch.optim.SGD"], rel=1e-3)


def test_the_table_has_a_row_for_each_trial() -> None:
    import tutorial_compare

    rows = tutorial_compare.table(num_steps=1).splitlines()
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows[2:]] == [it.name for it in tutorial_compare.TRIALS]
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    assert all(f"| {trial.name} |" in readme for trial in tutorial_compare.TRIALS)


@pytest.mark.slow
def test_the_example_keeps_what_its_readme_says() -> None:
    import tutorial_compare

    accuracy = {trial.name: tutorial_compare.run(trial)[2] for trial in tutorial_compare.TRIALS}
    assert accuracy.pop("AdamW, a tenth of the rate") < 0.95
    assert min(accuracy.values()) >= 0.94
    assert accuracy["AdamW in fp16 with a scaler"] == pytest.approx(accuracy["AdamW from scratch"], abs=0.01)
