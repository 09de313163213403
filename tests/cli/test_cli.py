"""The command line as a user meets it: real processes, their output, and their exit codes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ktrain import __version__
from ktrain.cli.app import COMMANDS
from ktrain.names import CliExit
from tests.load.test_load import GOOD

ROOT = Path(__file__).parents[2]


def ktrain(*args: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ktrain", *args],
        cwd=cwd or ROOT, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **env},
    )  # fmt: skip


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def test_the_version_is_told_twice_alike() -> None:
    assert ktrain("--version").stdout == ktrain("version").stdout == f"ktrain {__version__}\n"


def test_help_lists_every_command() -> None:
    done = ktrain("--help")
    assert done.returncode == CliExit.OK
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    done = ktrain(name, "--help")
    assert done.returncode == CliExit.OK
    assert "Usage: ktrain" in done.stdout


def test_a_valid_file_is_told_on_stderr_only(job: Path) -> None:
    done = ktrain("validate", str(job))
    assert (done.returncode, done.stdout) == (CliExit.OK, "")
    assert "is valid" in done.stderr


def test_mistakes_are_framed_and_exit_3(job: Path) -> None:
    done = ktrain("validate", str(job), "--set", "nodez=1")
    assert done.returncode == CliExit.SPEC
    assert "did you mean 'nodes'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_mistakes_are_data_on_request(job: Path) -> None:
    job.write_text(GOOD.replace("nodes: 2", "nodez: 2"), encoding="utf-8")
    done = ktrain("validate", str(job), "-o", "json")
    answer = json.loads(done.stdout)
    assert done.returncode == CliExit.SPEC
    assert answer["valid"] is False
    assert {"file", "line", "column", "path", "code", "message", "hint"} == set(answer["problems"][0])


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("frobnicate",), CliExit.USAGE, "No such command 'frobnicate'"),
        (("validate",), CliExit.USAGE, "Missing argument 'JOB.YAML'"),
        (("validate", "job.yaml", "--frob"), CliExit.USAGE, "--frob"),
        (("validate", "nowhere.yaml"), CliExit.NOT_FOUND, "there is no file nowhere.yaml"),
        (("lint", "--explain", "KT999"), CliExit.USAGE, "there is no rule KT999"),
        (("init", "--template", "huge"), CliExit.USAGE, "there is no template 'huge'; there are minimal, script"),
        (("report", "nowhere"), CliExit.NOT_FOUND, "has no run yet"),
    ],
    ids=["command", "argument", "option", "file", "rule", "template", "run"],
)
def test_a_wrong_call_is_one_sentence(args: tuple[str, ...], code: int, told: str, tmp_path: Path) -> None:
    done = ktrain(*args, cwd=tmp_path)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_our_own_bug_is_told_as_one(tmp_path: Path) -> None:
    """A module that cannot be imported stands for any bug: a sentence, and the traceback when it is asked for."""
    (tmp_path / "ktrain_cli_bug.py").write_text("", encoding="utf-8")
    code = "import ktrain.cli.app as app; app.COMMANDS['broken'] = 'x'; import sys; sys.argv[1:] = ['broken']; import ktrain.__main__ as m; m.main()"
    quiet = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    loud = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KTRAIN_DEBUG": "1"},
    )
    assert quiet.returncode == CliExit.FAILED
    assert "a bug in ktrain: ModuleNotFoundError" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr


def test_render_prints_the_objects_of_submit(job: Path) -> None:
    done = ktrain("render", str(job), "--set", "image=registry.example/worker:1")
    config, pytorch_job = yaml.safe_load_all(done.stdout)
    assert (config["kind"], pytorch_job["kind"]) == ("ConfigMap", "PyTorchJob")
    assert done.returncode == CliExit.OK


def test_lint_exits_3_for_errors_only(job: Path) -> None:
    warned = ktrain("lint", str(job), "--set", "preemption.grace=1s")
    refused = ktrain("lint", str(job), "--set", "env.RANK=1", "--format", "github")
    assert (warned.returncode, refused.returncode) == (CliExit.OK, CliExit.SPEC)
    assert warned.stdout.startswith("warning KT006 spec.preemption.grace: ")
    assert refused.stdout.startswith(f"::error file={job},title=KT001::spec.env.RANK: ")


@pytest.mark.parametrize("template", ["minimal", "script"])
def test_init_writes_what_works_at_once(template: str, tmp_path: Path) -> None:
    folder = tmp_path / "My Job"
    assert ktrain("init", str(folder), "--template", template).returncode == CliExit.OK
    text = (folder / "job.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=https://")
    assert "name: my-job" in text
    done = ktrain("validate", "--deep", "job.yaml", cwd=folder)
    assert done.returncode == CliExit.OK, done.stderr


def test_init_overwrites_nothing_unasked(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("mine", encoding="utf-8")
    done = ktrain("init", str(tmp_path))
    assert done.returncode == CliExit.CONFLICT
    assert (tmp_path / "train.py").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "job.yaml").exists()
    assert ktrain("init", str(tmp_path), "--force").returncode == CliExit.OK


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("trainer.model.use=trian:Net", "there is no module 'trian'"),
        ("trainer.model.use=train:Nett", "train has no 'Nett'; did you mean 'Net'?"),
        ("trainer.model.args.widht=3", "Net takes no 'widht'; did you mean 'width'?"),
        ("trainer.model.args.width=wide", "failed: TypeError"),
        ("trainer.data.train.args.split=tset", "failed: KeyError: 'tset'"),
        ("trainer.optim.args.beta=3", "takes no 'beta'"),
        ("trainer.task.loss.use=crossentropy", "there is no loss 'crossentropy'"),
    ],
    ids=["module", "attribute", "argument", "value", "data", "optimizer", "loss"],
)
def test_validate_deep_names_what_does_not_build(change: str, told: str, tmp_path: Path) -> None:
    ktrain("init", str(tmp_path))
    done = ktrain("validate", "--deep", "job.yaml", "--set", change, cwd=tmp_path)
    assert done.returncode == CliExit.SPEC
    assert told in done.stderr
    assert f"--> --set {change}" in done.stderr
    assert "ktrain_trainer" not in done.stderr  # the user's own frames only


def test_validate_deep_counts_parameters(tmp_path: Path) -> None:
    ktrain("init", str(tmp_path))
    answer = json.loads(ktrain("validate", "--deep", "job.yaml", "-o", "json", cwd=tmp_path).stdout)
    assert answer["parameters"] == "4,482 (4,482 trained)"


@pytest.mark.parametrize("command", [("--help",), ("validate", "{job}"), ("render", "{job}", "--set", "image=a:1")])
def test_nothing_heavy_is_imported(command: tuple[str, ...], job: Path) -> None:
    args = [part.format(job=job) for part in command]
    code = (
        f"import sys; sys.argv[1:] = {args!r}\nfrom ktrain.__main__ import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'boto3', 'kubernetes', 'numpy') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "[]"


def test_a_closed_pipe_is_no_error(job: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m ktrain schema | head -1", shell=True, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_the_exit_codes_are_published() -> None:
    table = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    published = {int(code): name for code, name in re.findall(r"^\| (\d+) \| `(\w+)` \|", table, re.MULTILINE)}
    assert published == {int(it): it.name for it in CliExit}


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("ktrain", "va"), ["validate"]),
        (("ktrain", "run", "--fr"), ["--fresh"]),
        (("ktrain", "run", "job.yaml", "--set", "trainer.opt"), ["trainer.optim."]),
        (("ktrain", "run", "job.yaml", "--set", "trainer.optim.no"), ["trainer.optim.noDecay="]),
        (("ktrain", "render", "job.yaml", "--set", "metadata.names"), ["metadata.namespace="]),
        (("ktrain", "init", "--template", ""), ["minimal", "script"]),
    ],
    ids=["command", "option", "section", "key", "metadata", "template"],
)
def test_the_shell_completes(typed: tuple[str, ...], offered: list[str]) -> None:
    words = {"COMP_WORDS": " ".join(typed), "COMP_CWORD": str(len(typed) - 1), "_KTRAIN_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [sys.executable, "-m", "ktrain"], env={**os.environ, **words}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == offered
