"""`ktrain compare`: the numbers are scipy's, and what few or tied pairs cannot say is said."""

import json
import statistics
import sys
from pathlib import Path

import pytest
from scipy import stats

from ktrain.errors import BuildError, KtrainError
from ktrain.extras import require
from ktrain.names import CliExit
from ktrain.tune.compare import RESAMPLES, compare
from ktrain.tune.extra import need
from ktrain.tune.sides import Side, expand, pair, read_side
from tests.tune.here import Call
from tests.tune.runs import write_run

A = [0.52, 0.48, 0.55, 0.61, 0.50, 0.47, 0.58]
B = [0.49, 0.47, 0.50, 0.53, 0.51, 0.41, 0.48]


def side(folder: Path, name: str, values: list[float], *, first_seed: int = 0) -> str:
    """A job for each value, a seed more for each."""
    for number, value in enumerate(values):
        write_run(folder, f"{name}-s{number}", [1.0, value], seed=first_seed + number)
    return f"{folder}/default/{name}-s*"


def test_the_tests_are_scipys() -> None:
    found = compare(A, B, seed=3)
    t, wilcoxon = stats.ttest_rel(B, A), stats.wilcoxon(B, A)
    differences = [b - a for a, b in zip(A, B, strict=True)]
    interval = stats.bootstrap(
        (differences,), lambda it, axis: it.mean(axis=axis), n_resamples=RESAMPLES, method="percentile", rng=3
    ).confidence_interval
    assert (found.t.statistic, found.t.p) == (t.statistic, t.pvalue)
    assert (found.wilcoxon.statistic, found.wilcoxon.p) == (wilcoxon.statistic, wilcoxon.pvalue)
    assert found.interval == (interval.low, interval.high)
    assert found.difference == pytest.approx(statistics.fmean(B) - statistics.fmean(A))
    assert compare(A, B, seed=3) == found


def test_one_pair_is_no_test() -> None:
    found = compare([0.5], [0.4])
    assert (found.t.p, found.wilcoxon.p, found.interval) == (None, None, None)
    assert found.notes == ("a test needs at least two pairs; train more seeds or folds of both",)


def test_equal_pairs_leave_nothing_to_test() -> None:
    found = compare([0.5, 0.6, 0.7], [0.5, 0.6, 0.7])
    assert (found.difference, found.t.p) == (0, None)
    assert "all pairs are equal" in found.notes[0]


def test_ties_and_few_pairs_are_told() -> None:
    found = compare([1.0, 2.0, 3.0, 4.0], [1.0, 2.5, 3.5, 5.0])
    assert found.wilcoxon.p == stats.wilcoxon([0.0, 0.5, 0.5, 1.0]).pvalue
    assert found.notes == (
        "1 of 4 pairs are equal: Wilcoxon leaves them out",
        "some differences are equally large: Wilcoxon's p is an approximation",
        "with 3 pairs that differ, Wilcoxon's p is never below 0.25",
    )


def test_the_same_difference_everywhere_has_no_t() -> None:
    found = compare([0.1, 0.2, 0.4], [0.2, 0.3, 0.5])
    assert found.t.p is None
    assert "all differences are the same" in found.notes[0]


def read(text: str) -> Side:
    return read_side(text, "val/loss", at="last", direction="minimize")


def test_runs_are_paired_by_seed_whatever_their_order(tmp_path: Path) -> None:
    a, b = read(side(tmp_path, "a", [1.0, 2.0, 3.0])), read(side(tmp_path, "b", [20.0, 30.0, 40.0], first_seed=1))
    found = pair(a, b)
    assert [(x.value, y.value) for x, y in zip(found.a, found.b, strict=True)] == [(2.0, 20.0), (3.0, 30.0)]
    assert (found.by, found.alone) == ("seed and fold", 2)


def test_runs_of_one_seed_are_paired_as_they_stand(tmp_path: Path) -> None:
    for name in ("a0", "a1", "b0", "b1"):
        write_run(tmp_path, name, [float(name[1])], seed=7)
    where = tmp_path / "default"
    found = pair(read(f"{where}/a1,{where}/a0"), read(f"{where}/b?"))
    assert [it.value for it in found.a] == [1.0, 0.0]
    assert found.by == "order"
    with pytest.raises(KtrainError, match=r"has 2 runs and .* has 1"):
        pair(read(f"{where}/a?"), read(f"{where}/b0"))


def test_a_pattern_in_a_url_is_looked_up_in_storage(tmp_path: Path) -> None:
    side(tmp_path, "a", [1.0, 2.0])
    url = f"file://{tmp_path}/default"
    assert expand(f"{url}/a-*") == [f"{url}/a-s0", f"{url}/a-s1"]


def test_the_command_prints_a_table_and_draws_a_picture(call: Call, tmp_path: Path) -> None:
    a, b = side(tmp_path / "runs", "a", A), side(tmp_path / "runs", "b", B)
    done = call("compare", a, b, "--to", "it.svg")
    assert done.code == CliExit.OK, done.err
    assert "t-test p" in done.out.splitlines()[0]
    assert "better by 0.04571 on average" in done.err
    assert f"wrote {tmp_path / 'it.svg'}" in done.err
    assert "<svg" in (tmp_path / "it.svg").read_text(encoding="utf-8")
    told = json.loads(call("compare", a, b, "-o", "json").out)
    assert told["comparisons"][0]["t"]["p"] == stats.ttest_rel(B, A).pvalue
    assert told["comparisons"][0]["paired_by"] == "seed and fold"
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("{a}",), CliExit.USAGE, "name at least two sides"),
        (("{a}", "nowhere"), CliExit.NOT_FOUND, "has no run yet"),
        (("{a}", "none-*"), CliExit.NOT_FOUND, "'none-*' names no run"),
        (("{a}", "{b}", "--metric", "val/f1"), CliExit.FAILED, "has no metric 'val/f1'; it has val/loss"),
        (("{a}", "{b}", "--to", "it.bmp"), CliExit.FAILED, "it.bmp is no picture"),
        (("{a}", "{nan}"), CliExit.FAILED, "is nan; leave this run out"),
        (("{a}", "{empty}"), CliExit.FAILED, "has no evaluation yet"),
    ],
    ids=["one", "folder", "pattern", "metric", "picture", "nan", "empty"],
)
def test_a_wrong_comparison_is_one_sentence(
    args: tuple[str, ...], code: int, told: str, call: Call, tmp_path: Path
) -> None:
    runs = {"a": [0.5], "b": [0.4], "nan": [0.5, float("nan")], "empty": []}
    where = {name: write_run(tmp_path, name, values) for name, values in runs.items()}
    done = call("compare", *(it.format(**where) for it in args))
    assert (done.code, told in done.err) == (code, True), done.err
    assert "Traceback" not in done.err


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(BuildError, match=r"needs scipy, which is not installed; pip install 'ktrain-operator\[tune\]'"):
        need("scipy.stats")


def test_a_library_that_lacks_another_one_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "halfway.py").write_text("import nowhere_to_be_found", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        BuildError, match=r"x: reading needs halfway, which cannot be imported \(No module named 'nowhere"
    ):
        require("halfway", "data", "reading", "x")
