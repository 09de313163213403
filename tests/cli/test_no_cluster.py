"""Commands for a cluster, without one: each mistake is one sentence."""

import json
from pathlib import Path

import pytest

from ktrain.names import CliExit
from tests.cli.test_cli import ktrain


def kubeconfig(server: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": "x"}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        }
    )


@pytest.mark.parametrize(
    ("text", "args", "code", "told"),
    [
        (None, (), CliExit.UNREACHABLE, "there is no cluster to talk to: no kubeconfig with a context in"),
        ("{}", (), CliExit.UNREACHABLE, "there is no cluster to talk to"),
        ("junk: [", (), CliExit.FAILED, "the kubeconfig cannot be read: while parsing a flow node"),
        (kubeconfig("https://127.0.0.1:1"), (), CliExit.UNREACHABLE, "does not answer at https://127.0.0.1:1: "),
        (kubeconfig("https://127.0.0.1:1"), ("--context", "there"), CliExit.NOT_FOUND, "no context 'there' in the kubeconfig; there are here"),
    ],
    ids=["none", "empty", "junk", "down", "context"],
)  # fmt: skip
def test_a_cluster_that_is_not_there_is_one_sentence(
    text: str | None, args: tuple[str, ...], code: CliExit, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    done = ktrain("list", *args, KUBECONFIG=str(path))
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr
