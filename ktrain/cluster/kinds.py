"""The kinds of objects that ktrain touches, and where the API keeps them."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource of the API."""

    api: str  # "v1" or "group/v1"
    plural: str
    name: str
    is_namespaced: bool = True

    def path(self, namespace: str, name: str = "", sub: str = "") -> str:
        """Of the collection, of one object, or of its subresource."""
        root = f"/api/{self.api}" if "/" not in self.api else f"/apis/{self.api}"
        where = f"/namespaces/{namespace}" if self.is_namespaced and namespace else ""
        return "/".join(part for part in (f"{root}{where}/{self.plural}", name, sub) if part)


JOB: Final = Kind("kubeflow.org/v1", "pytorchjobs", "PyTorchJob")
POD: Final = Kind("v1", "pods", "Pod")
CONFIG_MAP: Final = Kind("v1", "configmaps", "ConfigMap")
SECRET: Final = Kind("v1", "secrets", "Secret")
EVENT: Final = Kind("v1", "events", "Event")
NODE: Final = Kind("v1", "nodes", "Node", is_namespaced=False)
NAMESPACE: Final = Kind("v1", "namespaces", "Namespace", is_namespaced=False)
CLAIM: Final = Kind("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
ACCOUNT: Final = Kind("v1", "serviceaccounts", "ServiceAccount")
LOCAL_QUEUE: Final = Kind("kueue.x-k8s.io/v1beta1", "localqueues", "LocalQueue")
ACCESS_REVIEW: Final = Kind(
    "authorization.k8s.io/v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", is_namespaced=False
)
