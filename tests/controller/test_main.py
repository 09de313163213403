"""What the program says of flags that cannot be meant."""

import pytest
import typer
from typer.testing import CliRunner

from ktrain_controller.__main__ import main


@pytest.mark.parametrize(
    "words",
    [
        "--port=65536", "--port=-1", "--workers=0", "--requests-per-second=inf", "--actions-per-minute=0",
        "--node-seconds=inf", "--start-seconds=nan", "--silent-seconds=1e300", "--sample-seconds=0",
    ],
)  # fmt: skip
def test_a_number_that_cannot_be_meant_is_refused_in_a_sentence(words: str) -> None:
    app = typer.Typer()
    app.command()(main)
    found = CliRunner().invoke(app, [words])
    assert found.exit_code == 2
    assert f"Invalid value for '{words.partition('=')[0]}'" in " ".join(found.output.split())
