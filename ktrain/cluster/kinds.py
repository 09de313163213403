"""The kinds of objects that ktrain touches, and where the API keeps them."""

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource of the API."""

    api: str  # "v1" or "group/v1"
    plural: str
    name: str
    is_namespaced: bool = True
    comes_with: str = ""  # what to install where the cluster does not know it
    older: "Kind | None" = None  # the same, for clusters that do not serve this version of it yet

    def path(self, namespace: str, name: str = "", sub: str = "") -> str:
        """Of the collection, of one object, or of its subresource."""
        root = f"/api/{self.api}" if "/" not in self.api else f"/apis/{self.api}"
        where = f"/namespaces/{namespace}" if self.is_namespaced and namespace else ""
        return "/".join(part for part in (f"{root}{where}/{self.plural}", name, sub) if part)

    def unknown(self) -> str:
        """For whoever asks a cluster that does not know it."""
        return "; ".join(part for part in (f"this cluster knows no {self.name}", self.comes_with) if part)


def _of_kueue(plural: str, name: str) -> Kind:
    """Kueue serves v1beta2 from 0.15 on, and v1beta1 until 0.19."""
    older = Kind("kueue.x-k8s.io/v1beta1", plural, name, comes_with="install Kueue")
    return replace(older, api="kueue.x-k8s.io/v1beta2", older=older)


JOB: Final = Kind(
    "kubeflow.org/v1", "pytorchjobs", "PyTorchJob",
    comes_with="install the Kubeflow training operator (kubectl apply --server-side -k "
    "'github.com/kubeflow/training-operator.git/manifests/overlays/standalone?ref=v1.9.3')",
)  # fmt: skip
POD: Final = Kind("v1", "pods", "Pod")
CONFIG_MAP: Final = Kind("v1", "configmaps", "ConfigMap")
SECRET: Final = Kind("v1", "secrets", "Secret")
EVENT: Final = Kind("v1", "events", "Event")
NODE: Final = Kind("v1", "nodes", "Node", is_namespaced=False)
NAMESPACE: Final = Kind("v1", "namespaces", "Namespace", is_namespaced=False)
CLAIM: Final = Kind("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
ACCOUNT: Final = Kind("v1", "serviceaccounts", "ServiceAccount")
LEASE: Final = Kind("coordination.k8s.io/v1", "leases", "Lease")
LOCAL_QUEUE: Final = _of_kueue("localqueues", "LocalQueue")
WORKLOAD: Final = _of_kueue("workloads", "Workload")
ACCESS_REVIEW: Final = Kind(
    "authorization.k8s.io/v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", is_namespaced=False
)
