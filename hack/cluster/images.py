"""Images: a Python base from Debian packages, the worker image by the project's Dockerfile, and both into the nodes.

Nothing is pulled: the cluster has no way out, and what the tests run is the image that the Dockerfile makes.
"""

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hack.cluster import daemons
from hack.cluster.layout import CACHE, HERE, Node, bin_folder
from hack.cluster.shell import NeedError, has, run, say, succeeds, wait

ROOT: Final = HERE.parents[1]
SUITE: Final = "bookworm"
PACKAGES: Final = "python3,python3-venv,ca-certificates,tini"
BASE: Final = f"localhost/ktrain-python:{SUITE}"
_STORE: Final = CACHE / "buildah"
_STORES: Final = CACHE / "stores"
_INTO_ALL: Final = ("Dockerfile", ".dockerignore", "pyproject.toml", "uv.lock", "ktrain")
_INTO: Final = {"worker": ("launcher", "trainer"), "controller": ("controller",)}
_CERTIFICATES: Final = Path("/etc/ssl/certs")


def ensure_base() -> None:
    """A minimal Debian with Python, where the Dockerfile has python:…-slim elsewhere."""
    if _has(BASE):
        return
    if not has("debootstrap"):
        raise NeedError("debootstrap is not installed; `make cluster-setup` installs what the cluster needs")
    say("cluster: building the base image")
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, folder)
        container = buildah("from", "scratch").strip()
        buildah("add", container, folder, "/")
        buildah("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", container)
        buildah("commit", "--rm", container, BASE)


def static_name(program: str) -> str:
    """The image of one of our binaries; other binaries, another tag (and not `latest`, which would be pulled)."""
    return f"ktrain.local/{program}:{bin_folder().name}"


def ensure_static(program: str, *, at: str) -> str:
    """The image of a program that needs nothing else, and stands at this path."""
    name = static_name(program)
    if not _has(name):
        container = buildah("from", "scratch").strip()
        buildah("copy", container, str(bin_folder() / program), at)
        buildah("config", "--entrypoint", json.dumps([at]), "--user", "65532:65532", container)
        buildah("commit", "--rm", container, name)
    return name


def build(target: str, *, source: Path = ROOT, repository: str = "") -> str:
    """The image of this target of the project's Dockerfile; its name carries the hash of what went in."""
    ensure_base()
    repository = repository or f"ktrain.local/{target}"
    name = f"{repository}:{source_hash(target, source)}"
    if _has(name):
        return name
    say(f"cluster: building the {target} image")
    buildah(
        "build", "--isolation=chroot", "--layers", "--network=host", f"--volume={_CERTIFICATES}:{_CERTIFICATES}:ro",
        *_arguments(PYTHON_IMAGE=BASE), *_arguments(**_of_this_machine()), "--target", target, "--tag", name, str(source),
    )  # fmt: skip
    for older in _names(repository):
        if older != name:
            buildah("rmi", "--force", older)
    return name


def _names(repository: str) -> list[str]:
    return buildah("images", "--format", "{{.Name}}:{{.Tag}}", "--filter", f"reference={repository}").split()


def source_hash(target: str, source: Path = ROOT) -> str:
    """Of everything that the Dockerfile copies into this target."""
    digest = hashlib.sha256()
    for name in (*_INTO_ALL, *_INTO[target]):
        path = source / name
        files = [path] if path.is_file() else sorted(it for it in path.rglob("*") if it.is_file())
        for file in (it for it in files if "__pycache__" not in it.parts):
            digest.update(str(file.relative_to(source)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def load(images: Sequence[str]) -> Path:
    """A containerd store with these images, unpacked, made once; nodes link to its files."""
    store = _STORES / hashlib.sha256("\n".join(images).encode()).hexdigest()[:12]
    if not store.exists():
        begun = store.with_name(f".{store.name}")
        shutil.rmtree(begun, ignore_errors=True)
        _begin(begun)
        with _Runtime(begun) as socket:
            for image in images:
                _import(image, begun, socket)
            _keep_only(images, socket)
            _name_by_digest(images, socket)
        begun.rename(store)
        _forget_old(store)
    return store


def _begin(store: Path) -> None:
    """From the newest store that is there: most layers are the same."""
    known = sorted(_STORES.glob("[0-9a-f]*"), key=lambda path: path.stat().st_mtime)
    if known:
        _copy(known[-1], store)
    else:
        store.mkdir(parents=True)


def _keep_only(images: Sequence[str], socket: Path) -> None:
    """Drops what the store was begun with and is not wanted any more, with its layers."""
    ctr = (bin_folder() / "ctr", "-a", socket, "-n", "k8s.io", "images")
    older = [name for name in run(*ctr, "ls", "-q").split() if name.startswith("ktrain.local/") and name not in images]
    if older:
        run(*ctr, "rm", "--sync", *older)


def _name_by_digest(images: Sequence[str], socket: Path) -> None:
    """As a registry would have them: a chart names its image by digest, and nothing is pulled here."""
    ctr = (bin_folder() / "ctr", "-a", socket, "-n", "k8s.io", "images")
    found = {line.split()[0]: line.split()[2] for line in run(*ctr, "ls").splitlines()[1:]}
    for image in images:
        run(*ctr, "tag", "--force", image, f"{image.rpartition(':')[0]}@{found[image]}")


def digest(image: str) -> str:
    """sha256:… of its manifest, as nodes know it."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        buildah("push", "--disable-compression", image, f"oci:{folder}/layout:{image}")
        index = json.loads((Path(folder) / "layout" / "index.json").read_text())
    return str(index["manifests"][0]["digest"])


def _forget_old(store: Path) -> None:
    """And what was left by whoever was broken off."""
    for other in _STORES.iterdir():
        if other != store:
            shutil.rmtree(other)


def link(store: Path, node: Node) -> None:
    """The store for a node: hard links, but its databases copied, since only these are written in place."""
    shutil.rmtree(node.storage, ignore_errors=True)
    _copy(store, node.storage)


def _copy(store: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    run("cp", "-al", store, to)
    for database in to.rglob("*.db"):
        data = database.read_bytes()
        database.unlink()
        database.write_bytes(data)


class _Runtime:
    """A containerd of its own while a store is filled."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._state = Path(tempfile.mkdtemp(prefix="ktrain-store-"))
        self._socket = self._state / "containerd.sock"

    def __enter__(self) -> Path:
        config = self._state / "config.toml"
        config.write_text(
            f'version = 3\nroot = "{self._root}"\nstate = "{self._state}/state"\n'
            f'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]\n'
            f'[grpc]\n  address = "{self._socket}"\n[ttrpc]\n  address = "{self._socket}.ttrpc"\n'
        )
        daemons.start_here("store", bin_folder() / "containerd", "-c", config)
        wait("containerd", lambda: succeeds([bin_folder() / "ctr", "-a", self._socket, "version"]))
        return self._socket

    def __exit__(self, *_: object) -> None:
        daemons.stop("store")
        shutil.rmtree(self._state, ignore_errors=True)


def _import(image: str, store: Path, socket: Path) -> None:
    """Only the layers that the store has not: the packages of the worker image are gigabytes."""
    say(f"cluster: importing {image}")
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        layout = Path(folder) / "layout"
        buildah("push", "--disable-compression", image, f"oci:{layout}:{image}")
        archive = _pack(image, layout, store)
        run(bin_folder() / "ctr", "-a", socket, "-n", "k8s.io", "images", "import", "--local", archive)


def _pack(image: str, layout: Path, store: Path) -> Path:
    index = json.loads((layout / "index.json").read_text())
    entry = next(it for it in index["manifests"] if it["annotations"]["org.opencontainers.image.ref.name"] == image)
    manifest = json.loads(_blob(layout, entry["digest"]).read_bytes())
    wanted = [entry["digest"], manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]
    known = store / "io.containerd.content.v1.content" / "blobs" / "sha256"
    entry["annotations"] = {"io.containerd.image.name": image}
    archive = layout.with_name("image.tar")
    with tarfile.open(archive, "w") as tar:
        _add_text(tar, "oci-layout", (layout / "oci-layout").read_text())
        _add_text(tar, "index.json", json.dumps({**index, "manifests": [entry]}))
        for digest in (it for it in wanted if not (known / it.removeprefix("sha256:")).exists()):
            tar.add(_blob(layout, digest), f"blobs/{digest.replace(':', '/')}")
    return archive


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(text.encode())
    tar.addfile(entry, io.BytesIO(text.encode()))


def buildah(*args: str) -> str:
    """With a store of its own, in the cache."""
    if not has("buildah"):
        raise NeedError("buildah is not installed; `make cluster-setup` installs what the cluster needs")
    return run("buildah", "--root", _STORE, "--runroot", "/run/ktrain-buildah", "--storage-driver", "overlay", *args)


def _has(image: str) -> bool:
    return succeeds(
        [
            "buildah",
            "--root",
            _STORE,
            "--runroot",
            "/run/ktrain-buildah",
            "--storage-driver",
            "overlay",
            "inspect",
            "--type=image",
            image,
        ]
    )


def _of_this_machine() -> dict[str, str]:
    """Where packages come from here, and whose certificates that server has."""
    names = ("SSL_CERT_FILE", "PIP_CERT", "PIP_INDEX_URL", "UV_DEFAULT_INDEX", "HTTPS_PROXY", "NO_PROXY")
    return {name: os.environ[name] for name in names if name in os.environ}


def _arguments(**values: str) -> list[str]:
    return [word for name, value in values.items() for word in ("--build-arg", f"{name}={value}")]
