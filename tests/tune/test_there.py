"""Jobs of a study in a cluster: submitted, read, given up, found again by the next call."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ktrain.history import current_run
from ktrain.names import ENV_RUN
from ktrain.storage import Storage, open_storage, scoped
from ktrain.templates import TEMPLATES
from ktrain.tune.there import There
from ktrain.tune.work import Ended, Work
from tests.controller.fake_api import FakeApi

WORK = Work("demo-t0", ("trainer.optim.lr=0.5",))


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as api:
        yield api


@pytest.fixture
def there(api: FakeApi, tmp_path: Path) -> There:
    for name in TEMPLATES["minimal"].files:
        (tmp_path / name).write_text(TEMPLATES["minimal"].read(name, job="demo"), encoding="utf-8")
    sets = (
        "image=registry.example/worker:1", f"storage.url={tmp_path}/runs", "metadata.namespace=ml",
        f"volumes=[{{name: data, mountPath: {tmp_path}, claim: data}}]",
    )  # fmt: skip
    return There(api.connect(tmp_path), tmp_path / "job.yaml", sets)


def storage(folder: Path) -> Storage:
    return scoped(open_storage(str(folder / "runs")), "ml/demo-t0")


def condition(api: FakeApi, kind: str, **more: Any) -> None:
    given = {"type": kind, "status": "True", **more}
    api.put("pytorchjobs", {"metadata": {"namespace": "ml", "name": "demo-t0"}, "status": {"conditions": [given]}})


def test_a_trial_is_submitted_with_its_values_and_read_from_its_storage(
    there: There, api: FakeApi, tmp_path: Path
) -> None:
    there.start(WORK, 0)
    (config,) = api.all("configmaps")
    spec = json.loads(config["data"]["job.json"])["spec"]
    assert (spec["trainer"]["optim"]["lr"], spec["tune"]) == (0.5, None)
    run = current_run(storage(tmp_path))
    assert run is not None
    template = api.get("pytorchjobs", "ml", "demo-t0")["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]
    env = {it["name"]: it.get("value") for it in template["spec"]["containers"][0]["env"]}
    assert env[ENV_RUN] == run
    record = {"kind": "eval", "time": 1.0, "step": 5, "values": {"val/loss": 0.25}}
    scoped(storage(tmp_path), run).put("metrics/a0001-e0001/000001.jsonl", json.dumps(record).encode() + b"\n")
    assert there.look(WORK) is None
    seen = there.see(WORK)
    assert seen.records.of("eval") == [record]
    assert seen.url.endswith(run)


@pytest.mark.parametrize(
    ("kind", "more", "expected"),
    [
        ("Running", {}, None),
        ("Succeeded", {}, Ended("done")),
        ("Failed", {"reason": "KtrainCancelled"}, Ended("stopped")),
        ("Failed", {"message": "exit 76"}, Ended("failed", "exit 76")),
    ],
)
def test_a_trial_ends_as_its_job_does(
    kind: str, more: dict[str, Any], expected: Ended | None, there: There, api: FakeApi
) -> None:
    there.start(WORK, 0)
    condition(api, kind, **more)
    assert there.look(WORK) == expected


def test_a_trial_that_is_given_up_is_cancelled_and_keeps_its_object(there: There, api: FakeApi) -> None:
    there.start(WORK, 0)
    there.stop(WORK)
    (found,) = api.get("pytorchjobs", "ml", "demo-t0")["status"]["conditions"]
    assert (found["type"], found["reason"]) == ("Failed", "KtrainCancelled")
    assert there.look(WORK) == Ended("stopped")
    there.stop(WORK)


def test_a_trial_goes_on_without_us_and_is_found_again(there: There, api: FakeApi, tmp_path: Path) -> None:
    there.start(WORK, 0)
    there.leave(WORK)
    assert there.look(WORK) == Ended("stopped")
    uid, run = api.get("pytorchjobs", "ml", "demo-t0")["metadata"]["uid"], current_run(storage(tmp_path))
    there.start(Work(WORK.name, WORK.sets, is_new=False), 0)
    assert there.look(WORK) is None
    assert api.get("pytorchjobs", "ml", "demo-t0")["metadata"]["uid"] == uid
    assert current_run(storage(tmp_path)) == run


def test_a_trial_whose_job_was_deleted_goes_on_with_its_run(there: There, api: FakeApi, tmp_path: Path) -> None:
    there.start(WORK, 0)
    run = current_run(storage(tmp_path))
    api.remove("pytorchjobs", "ml", "demo-t0")
    assert there.look(WORK) == Ended("stopped", "somebody has deleted its job")
    there.start(Work(WORK.name, WORK.sets, is_new=False), 0)
    assert there.look(WORK) is None
    assert current_run(storage(tmp_path)) == run
