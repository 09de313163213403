"""Builds the chart's checkers, so that no test waits for it: `python -m hack.chart`."""

import sys

from hack.chart import binaries, checkov
from hack.cluster.shell import NeedError


def main() -> int:
    """The exit code; what is missing is said."""
    try:
        for name in binaries.NAMES:
            binaries.ensure(name)
        checkov.ensure()
    except NeedError as error:
        sys.stderr.write(f"chart: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
