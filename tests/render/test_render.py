"""The rendered objects, rule by rule; each rule is there because the operator or a cluster broke without it."""

import json
from pathlib import Path
from typing import Any

import pytest

from ktrain.errors import SpecError
from ktrain.render import render, spec_hash
from ktrain.spec import TrainingJob

GOLDEN = Path(__file__).parent / "golden"


def job(**spec: Any) -> TrainingJob:
    trainer = {
        "duration": "10ep",
        "model": {"use": "m:Net"},
        "data": {"train": {"use": "m:Data"}},
        "batch": {"global": 64, "micro": 2},
        "optim": {"lr": 0.1},
    }
    return TrainingJob.model_validate(
        {
            "metadata": {"name": "demo", "namespace": "research", "labels": {"team": "a"}},
            "spec": {"image": "registry.example/worker:1", "nodes": 2, "trainer": trainer, **spec},
        }
    )


def template(**spec: Any) -> dict[str, Any]:
    _, pytorch_job = render(job(**spec))
    found: dict[str, Any] = pytorch_job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]
    return found


def container(**spec: Any) -> dict[str, Any]:
    (found,) = template(**spec)["spec"]["containers"]
    return dict(found)


def environment(**spec: Any) -> dict[str, Any]:
    return {it["name"]: it.get("value", it.get("valueFrom")) for it in container(**spec)["env"]}


FULL = {
    "procsPerNode": 8,
    "resources": {"cpu": 8, "memory": "64Gi", "nvidia.com/gpu": 8},
    "storage": {"url": "s3://bucket/runs", "secret": "s3-credentials"},
    "env": {"NCCL_DEBUG": "INFO"},
    "secretEnv": {"HF_TOKEN": {"secret": "hf", "key": "token"}},
    "volumes": [{"name": "data", "mountPath": "/data", "claim": "data", "readOnly": True}],
    "scheduling": {
        "queue": "gpu",
        "priorityClass": "high",
        "schedulerName": "volcano",
        "nodeSelector": {"gpu": "h200"},
        "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}],
    },
    "preemption": {"grace": "90s"},
    "imagePullSecrets": ["registry"],
    "serviceAccount": "trainer",
    "podPatch": {"spec": {"containers": [{"name": "pytorch", "env": [{"name": "NCCL_DEBUG", "value": "WARN"}]}]}},
}


@pytest.mark.parametrize(("name", "spec"), [("minimal", {}), ("full", FULL)])
def test_the_objects_are_those_of_the_golden_files(name: str, spec: dict[str, Any]) -> None:
    """After a change on purpose: write the new text into the golden file and read the difference."""
    text = json.dumps(render(job(**spec)), indent=1) + "\n"
    assert text == (GOLDEN / f"{name}.json").read_text()


def test_the_time_of_a_job_is_counted_from_its_submission() -> None:
    _, submitted = render(job(), submitted=1234.5678)
    template = submitted["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]
    assert template["metadata"]["annotations"]["ktrain.dev/submitted"] == "1234.568"
    path = {"fieldRef": {"fieldPath": "metadata.annotations['ktrain.dev/submitted']"}}
    assert environment()["KTRAIN_SUBMITTED"] == path


def test_only_workers_with_exit_codes_and_no_elastic_policy() -> None:
    _, pytorch_job = render(job())
    assert list(pytorch_job["spec"]["pytorchReplicaSpecs"]) == ["Worker"]
    assert "elasticPolicy" not in pytorch_job["spec"]
    assert pytorch_job["spec"]["runPolicy"] == {"cleanPodPolicy": "Running", "suspend": False}
    assert pytorch_job["spec"]["nprocPerNode"] == "1"
    assert pytorch_job["spec"]["pytorchReplicaSpecs"]["Worker"]["restartPolicy"] == "ExitCode"


def test_an_elastic_job_starts_with_all_its_nodes() -> None:
    _, pytorch_job = render(job(nodes={"min": 1, "max": 4}))
    assert pytorch_job["spec"]["pytorchReplicaSpecs"]["Worker"]["replicas"] == 4


def test_the_config_map_is_immutable_and_named_by_its_content() -> None:
    first, _ = render(job())
    same, _ = render(job())
    other, _ = render(job(ttl="1d"))
    assert first["immutable"] is True
    assert first["metadata"]["name"] == same["metadata"]["name"] == f"demo-{spec_hash(job())}"
    assert other["metadata"]["name"] != first["metadata"]["name"]
    assert TrainingJob.model_validate_json(first["data"]["job.json"]) == job()


def test_the_pod_passes_the_restricted_profile() -> None:
    pod = template()["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] >= 10000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_no_probe_delays_the_names_of_the_ranks() -> None:
    assert not [key for key in container() if key.endswith("Probe")]


def test_rank_and_attempt_come_from_the_pod() -> None:
    found = environment()
    assert found["KTRAIN_NODE_RANK"] == {
        "fieldRef": {"fieldPath": "metadata.labels['training.kubeflow.org/replica-index']"}
    }
    assert found["KTRAIN_ATTEMPT"] == {"fieldRef": {"fieldPath": "metadata.annotations['ktrain.dev/attempt']"}}
    assert found["KTRAIN_RDZV_HOST"] == "demo-worker-0"


def test_everything_that_is_written_goes_to_scratch() -> None:
    found = environment()
    assert {found[name].split("/")[1] for name in ("HOME", "HF_HOME", "TRITON_CACHE_DIR", "TMPDIR")} == {"scratch"}


def test_the_users_environment_does_not_override_ktrains() -> None:
    names = [it["name"] for it in container(env={"HOME": "/elsewhere"})["env"]]
    assert names.count("HOME") == 1
    assert environment(env={"HOME": "/elsewhere"})["HOME"] == "/elsewhere"


def test_node_loss_costs_half_a_minute_and_not_five() -> None:
    assert [it["tolerationSeconds"] for it in template()["spec"]["tolerations"]] == [30, 30]


def test_the_grace_period_leaves_the_launcher_time_for_its_verdict() -> None:
    assert template(preemption={"grace": "90s"})["spec"]["terminationGracePeriodSeconds"] == 100


def test_secrets_are_referred_to_and_never_copied() -> None:
    text = json.dumps(render(job(**FULL)))
    assert environment(**FULL)["HF_TOKEN"] == {"secretKeyRef": {"name": "hf", "key": "token"}}
    assert container(**FULL)["envFrom"] == [{"secretRef": {"name": "s3-credentials"}}]
    assert "AWS_SECRET" not in text


def test_a_patch_merges_lists_by_their_keys() -> None:
    found = environment(**FULL)
    assert found["NCCL_DEBUG"] == "WARN"
    assert found["KTRAIN_SPEC"] == "/etc/ktrain/job.json"


def test_a_patch_can_remove() -> None:
    pod = template(podPatch={"spec": {"tolerations": None, "volumes": [{"name": "ktrain-shm", "$patch": "delete"}]}})[
        "spec"
    ]
    assert "tolerations" not in pod
    assert "ktrain-shm" not in [volume["name"] for volume in pod["volumes"]]


def test_a_job_without_an_image_says_what_to_write() -> None:
    with pytest.raises(SpecError, match=r"spec\.image is missing"):
        render(job(image=None))


def test_rendering_changes_nothing_and_is_the_same_each_time() -> None:
    one = job(**FULL)
    assert json.dumps(render(one)) == json.dumps(render(one))


def test_names_fit_a_dns_label() -> None:
    config, _ = render(TrainingJob.model_validate({**job().model_dump(by_alias=True), "metadata": {"name": "a" * 50}}))
    assert len(config["metadata"]["name"]) <= 63
