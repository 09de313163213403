"""A checkpoint in a bucket: the same as on disk, with few requests, and whole whatever the server does."""

import logging
from collections.abc import Iterator

import pytest

from ktrain.history import claim_epoch
from ktrain.storage import Storage
from ktrain.storage.retry import Retry
from ktrain.storage.s3 import S3Storage
from ktrain_trainer.checkpoint import Checkpointer, Options, World
from tests.checkpoint.models import build, digests, reference, train
from tests.checkpoint.work import SMALL
from tests.storage.s3server import BUCKET, Fault, S3Server, s3_server


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "key")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "verysecret")
        with s3_server() as running:
            yield running


def connect(server: S3Server, prefix: str) -> Storage:
    return S3Storage(BUCKET, prefix, endpoint=server.endpoint, retry=Retry(sleep=lambda _: None))


def checkpointer(storage: Storage, options: Options = SMALL) -> Checkpointer:
    return Checkpointer(storage, claim_epoch(storage, attempt=1), World(), run="run", options=options)


def test_a_checkpoint_comes_back_from_a_bucket(server: S3Server) -> None:
    storage = connect(server, "plain")
    model, optimizer = build("plain", "tiny")
    train(model, optimizer, range(2))
    checkpointer(storage).save(2, model, optimizer, {}).result(60)
    other, another = build("plain", "tiny", start=99.0)
    assert checkpointer(storage).restore(other, another) is not None
    assert digests(other, another) == reference(2, "tiny")


def test_a_save_is_an_object_a_manifest_and_two_requests_to_head(server: S3Server) -> None:
    saver = checkpointer(connect(server, "few"), Options())
    saver.save(1, *build("plain"), {}).result(60)
    saver.close()
    server.requests.clear()
    saver.save(2, *build("plain"), {}).result(60)
    saver.close()
    assert [it.split("/")[0].strip() for it in server.requests] == ["PUT", "PUT", "GET", "PUT"]


@pytest.mark.parametrize("at", range(6))
def test_a_lost_reply_at_any_write_costs_nothing(server: S3Server, at: int) -> None:
    storage = connect(server, f"lost-{at}")
    saver = checkpointer(storage)
    model, optimizer = build("plain", "tiny")
    train(model, optimizer, range(2))
    server.faults = [Fault("PUT", skip=at, is_applied=True)]
    saver.save(2, model, optimizer, {}).result(60)
    assert server.faults.pop().times == 0
    other, another = build("plain", "tiny", start=99.0)
    assert checkpointer(storage).restore(other, another) is not None
    assert digests(other, another) == reference(2, "tiny")
