"""The jobs of the benchmark's cluster: rendered by ktrain, made by several clients at once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from hack.cluster.kubectl import apply
from ktrain.cluster import CONFIG_MAP, JOB, Cluster
from ktrain.render import render
from ktrain.spec import TrainingJob

Object = dict[str, Any]
PODS_PER_JOB: Final = 5
NAMESPACES: Final = 10
CLIENTS: Final = 8


def key(number: int) -> str:
    """Namespace and name, as the controller writes them."""
    return f"team-{number % NAMESPACES}/llm-{number:05}"


def create(cluster: Cluster, num_jobs: int) -> None:
    """All of them."""
    apply(*({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"team-{n}"}} for n in range(NAMESPACES)))
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda number: _create(cluster, number), range(num_jobs)))


def _create(cluster: Cluster, number: int) -> None:
    config, job = render(TrainingJob.model_validate(_job_file(number)))
    cluster.create(CONFIG_MAP, config)
    cluster.create(JOB, job)


def _job_file(number: int) -> Object:
    namespace, _, name = key(number).partition("/")
    pause = "0s" if number % 2 else "2s"  # with none a gang is deleted, with one its job is suspended meanwhile
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"team": namespace}},
        "spec": {
            "image": "registry.example/ktrain-worker:0.1.0", "nodes": PODS_PER_JOB, "procsPerNode": 1,
            "resources": {"cpu": 8, "memory": "64Gi", "nvidia.com/gpu": 1},
            "storage": {"url": "s3://bucket/runs", "secret": "s3-credentials"},
            "env": {"NCCL_DEBUG": "WARN"}, "restart": {"backoff": {"base": pause, "cap": pause}},
            "trainer": {
                "duration": "10ep", "model": {"use": "m:Net"}, "data": {"train": {"use": "m:Data"}},
                "batch": {"global": 100 * PODS_PER_JOB, "micro": 2}, "optim": {"lr": 0.1},
            },
        },
    }  # fmt: skip
