"""The control plane: etcd, API server, controller manager, scheduler and DNS, each a daemon."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hack.cluster import controller, daemons
from hack.cluster.kubectl import is_ready
from hack.cluster.layout import ADMIN, CONTROL, CONTROL_IP, PKI, RUN, SERVICES
from hack.cluster.shell import wait


def start(binaries: Path, *, more: Mapping[str, Sequence[str]] | None = None) -> None:
    """All of it, with more flags by a program's name; returns when the API answers."""
    flags = more or {}
    daemons.start(
        "etcd", CONTROL, binaries / "etcd", "--data-dir", RUN / "etcd", "--unsafe-no-fsync", "--log-level=warn",
        "--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=default=http://127.0.0.1:2380",
    )  # fmt: skip
    start_api(binaries)
    daemons.start(
        "kube-controller-manager", CONTROL, binaries / "kube-controller-manager", f"--kubeconfig={_config('kube-controller-manager')}",
        f"--service-account-private-key-file={PKI}/sa.key", f"--root-ca-file={PKI}/ca.crt", "--leader-elect=false",
        "--bind-address=127.0.0.1", "--node-monitor-period=2s", "--node-monitor-grace-period=12s",
        *flags.get("kube-controller-manager", ()),
    )  # fmt: skip
    daemons.start(
        "kube-scheduler", CONTROL, binaries / "kube-scheduler", f"--kubeconfig={_config('kube-scheduler')}",
        "--leader-elect=false", "--bind-address=127.0.0.1", *flags.get("kube-scheduler", ()),
    )  # fmt: skip
    start_dns(binaries)


def start_api(binaries: Path) -> None:
    """The API server alone, as after its restart."""
    daemons.start(
        "kube-apiserver", CONTROL, binaries / "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379",
        f"--bind-address={CONTROL_IP}", f"--advertise-address={CONTROL_IP}", "--secure-port=6443",
        f"--client-ca-file={PKI}/ca.crt", f"--tls-cert-file={PKI}/apiserver.crt", f"--tls-private-key-file={PKI}/apiserver.key",
        f"--service-account-key-file={PKI}/sa.pub", f"--service-account-signing-key-file={PKI}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc", f"--service-cluster-ip-range={SERVICES}",
        "--authorization-mode=Node,RBAC", "--allow-privileged=true",
        # Logs and exec go to nodes by address; webhooks to pods by address, without a proxy on the control plane.
        "--kubelet-preferred-address-types=InternalIP", "--enable-aggregator-routing=true",
        f"--kubelet-certificate-authority={PKI}/ca.crt", f"--kubelet-client-certificate={PKI}/kubelet-client.crt",
        f"--kubelet-client-key={PKI}/kubelet-client.key",
        f"--audit-policy-file={controller.audit_policy()}", f"--audit-log-path={controller.AUDIT}", "--audit-log-mode=blocking",
    )  # fmt: skip
    wait("the API server", is_ready)


def start_dns(binaries: Path) -> None:
    """Names of services and pods, for pods."""
    corefile = RUN / "Corefile"
    corefile.write_text(
        f".:53 {{\n  bind {CONTROL_IP}\n  errors\n"
        f"  kubernetes cluster.local {{\n    kubeconfig {ADMIN} ktrain-cluster\n  }}\n  cache 1\n}}\n"
    )
    daemons.start("coredns", CONTROL, binaries / "coredns", "-conf", corefile)


def _config(name: str) -> Path:
    return RUN / f"{name}.kubeconfig"
