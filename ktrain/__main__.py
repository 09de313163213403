"""The command line's door: answers --version at once, and turns every error into one sentence and an exit code."""

import os
import sys
from typing import NoReturn

from ktrain import __version__
from ktrain.names import CliExit


def main() -> NoReturn:
    """Runs `ktrain …` and exits."""
    if sys.argv[1:] == ["--version"]:  # without typer and pydantic: 20 ms instead of 200
        print(f"ktrain {__version__}")  # noqa: T201
        sys.exit(CliExit.OK)
    sys.exit(_run(sys.argv[1:]))


def _run(args: list[str]) -> int:
    from ktrain.errors import KtrainError

    try:
        from ktrain.cli.app import run

        return run(args)
    except KtrainError as error:
        return _fail(str(error), error.cli_exit)
    except KeyboardInterrupt:
        return CliExit.INTERRUPTED
    except BrokenPipeError:  # `ktrain … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CliExit.OK
    except Exception as error:
        if os.environ.get("KTRAIN_DEBUG"):
            raise
        kind = type(error).__name__
        return _fail(
            f"a bug in ktrain: {kind}: {error}\nKTRAIN_DEBUG=1 shows where; please report it with that output",
            CliExit.FAILED,
        )


def _fail(message: str, code: int) -> int:
    text = message if message.startswith("error:") else f"error: {message}"
    print(text, file=sys.stderr)  # noqa: T201
    return code


if __name__ == "__main__":
    main()
