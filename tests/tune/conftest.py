"""A folder to work in, and the command line in it."""

from pathlib import Path

import pytest

from ktrain.__main__ import _run
from tests.tune.here import Call, Done


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """`ktrain …` in tmp_path, as its door runs it."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> Done:
        code = _run(list(args))
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run
