"""The whole cluster: up, down, and what is left of it."""

import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from hack.cluster import (
    binaries,
    cgroups,
    control,
    daemons,
    earlier,
    images,
    kueue,
    monitoring,
    network,
    nodes,
    operator,
    pki,
    prometheus,
    s3,
)
from hack.cluster.kubectl import get
from hack.cluster.layout import CACHE, LOGS, PREFIX, RUN, Node, bin_folder
from hack.cluster.shell import NeedError, run, say, wait

_MARK: Final = RUN / "up"


def up(num_nodes: int, *, is_bare: bool = False) -> None:
    """Starts a cluster, unless the same one is up; a half-started one, or one with older images, is taken down first."""
    folder = binaries.ensure()
    store = prepare_images(is_bare=is_bare)
    mark = f"{num_nodes} nodes, {store.name}"
    if _MARK.exists() and _MARK.read_text() == mark and daemons.is_running("kube-apiserver"):
        say(f"cluster: already up with {num_nodes} nodes")
        return
    if left():
        down()
    begun = time.monotonic()
    _start(folder, [Node(index) for index in range(1, num_nodes + 1)], store)
    if not is_bare:
        _start_beside()
    _MARK.write_text(mark)
    say(f"cluster: up with {num_nodes} nodes after {time.monotonic() - begun:.1f} s; `make cluster-shell` for a shell")


def prepare_images(*, is_bare: bool) -> Path:
    """Builds what is missing; returns the store that nodes start from."""
    wanted = [images.ensure_static("pause", at="/pause")]
    if not is_bare:
        wanted += [operator.ensure_image(), images.build("worker"), images.build("controller")]
        if earlier.is_known():
            with earlier.source() as files:
                wanted.append(earlier.image(files))
        kueue.module_folder()  # tests that use these two are in a network without a way out
        monitoring.ensure()
    return images.load(wanted)


def _start(folder: Path, all_nodes: list[Node], store: Path) -> None:
    LOGS.mkdir(parents=True, exist_ok=True)
    network.create(all_nodes)
    pki.create(all_nodes)
    with ThreadPoolExecutor() as pool:
        linked = [pool.submit(images.link, store, node) for node in all_nodes]
        control.start(folder)
        for done in linked:
            done.result()
        list(pool.map(nodes.start, all_nodes))
    wait("every node", lambda: _ready() == len(all_nodes), seconds=90)


def _start_beside() -> None:
    with ThreadPoolExecutor() as pool:
        for begun in (
            pool.submit(operator.install), pool.submit(prometheus.start),
            pool.submit(s3.start, Path(sys.executable).with_name("weed")),
        ):  # fmt: skip
            begun.result()


def _ready() -> int:
    try:
        items = get("nodes")["items"]
    except NeedError:
        return 0
    conditions = [condition for item in items for condition in item.get("status", {}).get("conditions", [])]
    return sum(1 for it in conditions if it["type"] == "Ready" and it["status"] == "True")


def down() -> None:
    """Ends everything that `up` began, by id: daemons, shims, containers, mounts, namespaces, cgroups, files."""
    for name in daemons.names():
        daemons.kill(name)
    for pid in nodes.shims(RUN):
        daemons.kill_pid(pid)
    cgroups.kill()
    _unmount()
    for name in _namespaces():
        run("ip", "netns", "del", name)
    wait("the end of the containers", _no_cgroup_left, seconds=10)
    for folder in (RUN, CACHE / "nodes", s3.DATA):
        shutil.rmtree(folder, ignore_errors=True)


def left() -> list[str]:
    """What of a cluster is on this machine: nothing, after `down`."""
    found = [f"file {path}" for path in (RUN, CACHE / "nodes", s3.DATA) if path.exists()]
    found += [f"namespace {name}" for name in _namespaces()]
    found += [f"mount {mount}" for mount in _mounts()]
    found += [f"cgroup {path}" for path in cgroups.left()]
    return found + [f"process {pid}" for pid in nodes.shims(RUN)]


def restart_api() -> None:
    """Ends the API server, and starts it again."""
    daemons.stop("kube-apiserver")
    control.start_api(bin_folder())


def _unmount() -> None:
    for mount in reversed(_mounts()):
        run("umount", "--lazy", mount)


def _mounts() -> list[str]:
    ours = (f"{RUN}/", f"{CACHE}/nodes/")
    lines = Path("/proc/mounts").read_text().splitlines()
    return [line.split()[1] for line in lines if line.split()[1].startswith(ours)]


def _namespaces() -> list[str]:
    return sorted(it.name for it in Path("/run/netns").glob(f"{PREFIX}-*"))


def _no_cgroup_left() -> bool:
    cgroups.kill()
    cgroups.remove()
    return not cgroups.left()
