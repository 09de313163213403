"""Nodes: a container runtime, a kubelet and a proxy in a network namespace; they can be killed and revived."""

import json
import os
import shutil
from pathlib import Path

from hack.cluster import cgroups, daemons, network
from hack.cluster.images import static_name
from hack.cluster.layout import CONTROL_IP, PKI, RUN, Node, bin_folder
from hack.cluster.shell import run, succeeds, wait

DISK_BYTES = 2 << 30  # of the kubelet's own disk: small, so that a test can fill it


def start(node: Node) -> None:
    """Starts its daemons; the kubelet registers the node."""
    cgroups.create(node.cgroup)
    for folder in (node.folder / "cni", node.folder / "kubelet", node.storage):
        folder.mkdir(parents=True, exist_ok=True)
    _mount_disk(node.folder / "kubelet")
    (node.folder / "cni" / "10-bridge.conflist").write_text(json.dumps(_cni(node)))
    (node.folder / "containerd.toml").write_text(_containerd(node))
    (node.folder / "kubelet.json").write_text(json.dumps(_kubelet(node)))
    start_daemons(node)


def start_daemons(node: Node) -> None:
    """The runtime first: the kubelet gives up without one."""
    binaries = bin_folder()
    path = {"PATH": f"{binaries}:{os.environ['PATH']}"}
    daemons.start(
        f"containerd-{node.name}",
        node.namespace,
        binaries / "containerd",
        "-c",
        node.folder / "containerd.toml",
        env=path,
    )
    wait(f"containerd of {node.name}", lambda: succeeds([binaries / "ctr", "-a", node.socket, "version"]))
    daemons.start(
        f"kubelet-{node.name}", node.namespace, binaries / "kubelet", f"--config={node.folder}/kubelet.json",
        f"--kubeconfig={RUN}/{node.name}.kubeconfig", f"--hostname-override={node.name}", f"--root-dir={node.folder}/kubelet",
        f"--node-ip={node.ip}", f"--cert-dir={node.folder}/certs", env=path,
    )  # fmt: skip
    daemons.start(
        f"kube-proxy-{node.name}", node.namespace, binaries / "kube-proxy", f"--kubeconfig={RUN}/kube-proxy.kubeconfig",
        f"--hostname-override={node.name}", "--proxy-mode=nftables", "--conntrack-max-per-core=0",
        "--healthz-bind-address=127.0.0.1:10256", "--metrics-bind-address=127.0.0.1:10249",
    )  # fmt: skip


def kill(node: Node) -> None:
    """The power fails: daemons, shims and containers die at once, and the link with them."""
    network.cut(node)
    for name in ("kubelet", "kube-proxy", "containerd"):
        daemons.kill(f"{name}-{node.name}")
    for pid in shims(node.folder):
        daemons.kill_pid(pid)
    cgroups.kill(node.cgroup)


def revive(node: Node) -> None:
    """As after a reboot."""
    network.mend(node)
    shutil.rmtree(node.folder / "containerd-state", ignore_errors=True)
    start_daemons(node)


def shims(folder: Path) -> list[int]:
    """The runtime's shims whose command line names this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        if words[0].endswith(b"containerd-shim-runc-v2") and any(str(folder).encode() in word for word in words):
            found.append(int(path.parent.name))
    return found


def _mount_disk(folder: Path) -> None:
    if not folder.is_mount():
        run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder)


def _cni(node: Node) -> dict[str, object]:
    address = {
        "type": "host-local", "dataDir": str(node.folder / "ipam"),
        "ranges": [[{"subnet": node.pods}]], "routes": [{"dst": "0.0.0.0/0"}],
    }  # fmt: skip
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": address,
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}


def _containerd(node: Node) -> str:
    return f"""
version = 3
root = "{node.storage}"
state = "{node.folder}/containerd-state"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
  address = "{node.socket}"
[ttrpc]
  address = "{node.socket}.ttrpc"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{static_name("pause")}"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  runtime_path = "{bin_folder()}/containerd-shim-runc-v2"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
    BinaryName = "/usr/sbin/runc"
    SystemdCgroup = false
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "{node.folder}/cni"
"""


def _kubelet(node: Node) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.cgroup}",
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": f"{PKI}/ca.crt"}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{PKI}/{node.name}.crt",
        "tlsPrivateKeyFile": f"{PKI}/{node.name}.key",
        "address": node.ip,
        "healthzBindAddress": "127.0.0.1",
        "containerRuntimeEndpoint": f"unix://{node.socket}",
        "clusterDNS": [CONTROL_IP],
        "clusterDomain": "cluster.local",
        "resolvConf": "/dev/null",
        "failSwapOn": False,
        "syncFrequency": "2s",  # otherwise a Secret takes up to two minutes to reach a pod that waits for it
        "nodeStatusUpdateFrequency": "2s",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "20%"},
        "evictionPressureTransitionPeriod": "5s",
        "imageGCHighThresholdPercent": 100,
        "maxPods": 60,
        "podLogsDir": f"{node.folder}/podlogs",
        "enableServer": True,
    }  # fmt: skip
