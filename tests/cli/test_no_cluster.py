"""Commands for a cluster, without one: each mistake is one sentence."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

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


NO_SUCH_KIND = b"404 page not found\n"
"""As the real server answers; tests/cluster/test_access.py asks it."""


class _WithoutKinds(BaseHTTPRequestHandler):
    """An API server that was never told of PyTorchJobs."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(NO_SUCH_KIND)))
        self.end_headers()
        self.wfile.write(NO_SUCH_KIND)

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815  -- http.server calls them so

    def log_message(self, *_: object) -> None:
        return


@pytest.mark.parametrize("command", [("list",), ("status", "job"), ("delete", "job"), ("suspend", "job"), ("submit",)])
def test_a_cluster_without_the_operator_says_how_to_install_it(command: tuple[str, ...], tmp_path: Path) -> None:
    assert ktrain("init", str(tmp_path)).returncode == CliExit.OK
    path = tmp_path / "kubeconfig"
    with ThreadingHTTPServer(("127.0.0.1", 0), _WithoutKinds) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        path.write_text(kubeconfig(f"http://127.0.0.1:{server.server_port}"), encoding="utf-8")
        job = (
            ("job.yaml", "--set", "image=a:1", "--set", "storage.url=s3://nowhere/runs")
            if command == ("submit",)
            else ()
        )
        done = ktrain(*command, *job, cwd=tmp_path, KUBECONFIG=str(path))
        server.shutdown()
    assert done.returncode == CliExit.NOT_FOUND, done.stderr
    assert "this cluster knows no PyTorchJob" in done.stderr
    assert done.stderr.count("error:") == 1


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
