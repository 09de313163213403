"""ktrain as it was: the controller's image and the chart of an earlier commit, for upgrades from there."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hack.cluster.images import ROOT, build
from hack.cluster.shell import run, succeeds

# The first one whose packaged chart was installed on a cluster; the next release's takes its place.
COMMIT: Final = "946288264cb0793819be73dc70b7fdeea6ec4e3f"
_CHART: Final = "deploy/helm/ktrain"


def is_known() -> bool:
    """Whether this checkout has its own past: an archive of the sources has not."""
    return succeeds(["git", "-C", ROOT, "cat-file", "-e", f"{COMMIT}^{{commit}}"])


@contextmanager
def source() -> Iterator[Path]:
    """Its files, for a while."""
    with tempfile.TemporaryDirectory(prefix="ktrain-earlier-") as folder:
        archive, files = Path(folder) / "source.tar", Path(folder) / "source"
        run("git", "-C", ROOT, "archive", "--output", archive, COMMIT)
        files.mkdir()
        run("tar", "-xf", archive, "-C", files)
        yield files


def image(files: Path) -> str:
    """The controller's, built from its files when it is not there."""
    return build("controller", source=files, repository="ktrain.local/controller-earlier")


def chart(files: Path) -> Path:
    """Where its chart is."""
    return files / _CHART
