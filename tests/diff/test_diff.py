"""What a changed job file takes; the marks of the schema decide."""

import json

import pytest

from ktrain.diff import Effect, differences
from ktrain.load import parse_job
from ktrain.render.job import resolved

JOB = """
apiVersion: ktrain.dev/v1
kind: TrainingJob
metadata: {name: demo}
spec:
  image: worker:1
  nodes: {min: 1, max: 4}
  storage: {url: "s3://bucket/runs"}
  trainer:
    duration: 10ep
    model: {use: "train:Net"}
    data: {train: {use: "train:Data"}}
    batch: {global: 64, micro: 16}
    optim: {name: adamw, lr: 0.01}
"""


def documents(*sets: str) -> list[dict[str, object]]:
    return [json.loads(resolved(parse_job(JOB, "job.yaml", it)[0])) for it in ((), sets)]


@pytest.mark.parametrize(
    ("change", "path", "effect"),
    [
        ("ttl=1d", "spec.ttl", Effect.IN_PLACE),
        ("deadline=1h", "spec.deadline", Effect.IN_PLACE),
        ("restart.max=3", "spec.restart.max", Effect.RESTART),
        ("restart.inPlace=1", "spec.restart.inPlace", Effect.RESTART),
        ("metadata.labels.team=a", "metadata.labels", Effect.RESTART),
        ("image=worker:2", "spec.image", Effect.RESTART),
        ("nodes.max=2", "spec.nodes.max", Effect.RESTART),
        ("trainer.duration=20ep", "spec.trainer.duration", Effect.RESTART),
        ("trainer.seed=5", "spec.trainer.seed", Effect.NEW_JOB),
        ("storage.url=s3://other/runs", "spec.storage.url", Effect.NEW_JOB),
        ("storage.endpoint=http://s3", "spec.storage.endpoint", Effect.RESTART),
    ],
)
def test_each_change_is_told_with_what_it_takes(change: str, path: str, effect: Effect) -> None:
    old, new = documents(change)
    (found,) = differences(old, new)
    assert (found.path, found.effect) == (path, effect)


def test_the_heaviest_comes_first_and_code_is_a_restart() -> None:
    old, new = documents("ttl=1d", "trainer.seed=5", "image=worker:2")
    found = differences(old, new, code=("a" * 64, "b" * 64))
    assert [it.effect for it in found] == [Effect.NEW_JOB, Effect.RESTART, Effect.RESTART, Effect.IN_PLACE]
    assert "code: aaaaaaaaaaaa → bbbbbbbbbbbb  (needs a restart)" in map(str, found)


def test_nothing_changed_is_nothing_told() -> None:
    old, new = documents()
    assert differences(old, new, code=("a", "a")) == []
