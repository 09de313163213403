"""Another number of pods: what has to change in a job's object together. Pure."""

from typing import Any

from ktrain.jobs.find import worker
from ktrain.names import ENV_NUM_NODES

Object = dict[str, Any]


def resized(job: Object, nodes: int) -> Object:
    """A merge patch of the job's spec: its replicas, and the number that its launchers are told.

    A merge patch replaces lists as a whole, so the containers are all there.
    """
    containers = [
        container | {"env": [_told(it, nodes) for it in container.get("env", ())]}
        for container in worker(job)["template"]["spec"]["containers"]
    ]
    template = {"spec": {"containers": containers}}
    return {"pytorchReplicaSpecs": {"Worker": {"replicas": nodes, "template": template}}}


def _told(variable: Object, nodes: int) -> Object:
    return variable | {"value": str(nodes)} if variable["name"] == ENV_NUM_NODES else variable
