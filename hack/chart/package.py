"""Packages the chart: `python -m hack.chart.package --digest sha256:… --repository registry.example/ktrain-controller`.

The versions are the code's; the digest of the image goes into the packaged values, so that what is installed is what was
built, whatever happens to the tag.
"""

import argparse
import re
import shutil
import tempfile
from pathlib import Path

from hack.chart.helm import CHART, ROOT, helm
from ktrain import __version__

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digest", default="", help="of the controller's image, as the registry tells it")
    parser.add_argument("--repository", default="", help="where it was pushed to")
    parser.add_argument("--to", type=Path, default=ROOT / "dist", help="folder of the package")
    told = parser.parse_args()
    if told.digest and not DIGEST.fullmatch(told.digest):
        parser.error(f"--digest is {told.digest!r}; expected sha256: and 64 hexadecimal digits")
    print(package(told.to, digest=told.digest, repository=told.repository))


def package(to: Path, *, digest: str = "", repository: str = "", chart: Path = CHART) -> Path:
    """The package's file."""
    to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "ktrain"
        shutil.copytree(chart, copy)
        _stamp(copy / "values.yaml", digest=digest, repository=repository)
        helm("template", "ktrain", copy)  # a name that the schema refuses would be found by whoever installs it
        helm("package", copy, "--destination", to, "--version", __version__, "--app-version", __version__)
    return to / f"ktrain-{__version__}.tgz"


def _stamp(values: Path, **image: str) -> None:
    """As text: the comments stay."""
    text = values.read_text(encoding="utf-8")
    for key, value in image.items():
        if value:
            text, times = re.subn(rf"^  {key}: .*$", f'  {key}: "{value}"', text, flags=re.MULTILINE)
            assert times == 1, key
    values.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
