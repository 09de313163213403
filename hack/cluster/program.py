"""A Go program from a pinned module of its own: built when it is first needed, kept in the cache; and the sources of a module."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hack.cluster.layout import CACHE
from hack.cluster.shell import NeedError, has, run, say

_SETTINGS: Final = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}


def built(package: str, *, module: Path) -> Path:
    """The program of that package, named as its folder is; another pin, another build."""
    program = _place(package, module)
    if not program.exists():
        _build(package, program, module)
    return program


def built_with(files: Mapping[str, str], package: str, *, module: Path) -> Path:
    """The same from a copy of the package's own module, with these files instead of those that it has there."""
    program = _place(package, module, *files.values())
    if not program.exists():
        path = "/".join(package.split("/")[:3])
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "copy"
            shutil.copytree(sources(path, module=module), copy, copy_function=shutil.copyfile)
            for name, text in files.items():
                (copy / name).write_text(text, encoding="utf-8")
            _build(package, program, copy)
    return program


def _place(package: str, module: Path, *more: str) -> Path:
    name = package.rpartition("/")[2]
    pins = b"".join([*(path.read_bytes() for path in sorted(module.iterdir())), *(text.encode() for text in more)])
    return CACHE / "bin" / f"{name}-{hashlib.sha256(pins).hexdigest()[:12]}" / name


def _build(package: str, to: Path, folder: Path) -> None:
    say(f"building {to.name}")
    to.parent.mkdir(parents=True, exist_ok=True)
    begun = to.with_name(f".{to.name}.{os.getpid()}")
    _go(folder, "build", "-trimpath", "-ldflags", "-s -w", "-o", str(begun), package)
    begun.rename(to)


def sources(path: str, *, module: Path) -> Path:
    """Of what the module needs under that path; downloaded, and compared with go.sum, when they are not there yet."""
    return Path(json.loads(_go(module, "mod", "download", "-json", path))["Dir"])


def _go(module: Path, *args: str) -> str:
    if not has("go"):
        raise NeedError(f"Go is not installed; what {module} pins is built from source: install Go 1.26 or newer")
    return run("go", *args, cwd=module, env={**os.environ, **_SETTINGS})
