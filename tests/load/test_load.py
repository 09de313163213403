"""Every mistake in a job file gets its line, what was expected, and what to write."""

from pathlib import Path
from typing import Any

import pytest

from ktrain.errors import SpecError
from ktrain.load import Problem, SpecErrors, load_job, parse_job, storage_url
from ktrain.load.compose import MAX_DEPTH, compose
from ktrain.spec import TrainingJob
from ktrain.spec.forms import WORDS

GOOD = """\
apiVersion: ktrain.dev/v1
kind: TrainingJob
metadata: {name: demo}
spec:
  nodes: 2
  trainer:
    duration: 10ep
    model: {use: "m:Net", args: {width: 8}}
    data: {train: {use: "m:Data"}}
    batch: {global: 8, micro: 2}
    optim: {lr: 0.1}
"""


def problems(text: str, overrides: tuple[str, ...] = ()) -> tuple[Problem, ...]:
    with pytest.raises(SpecErrors) as caught:
        parse_job(text, "job.yaml", overrides)
    return caught.value.problems


def the_problem(text: str, overrides: tuple[str, ...] = ()) -> Problem:
    (problem,) = problems(text, overrides)
    return problem


def test_a_good_file_is_read() -> None:
    job, _ = parse_job(GOOD, "job.yaml")
    assert job.spec.trainer is not None
    assert job.spec.trainer.model.args == {"width": 8}


@pytest.mark.parametrize(
    ("wrong", "right", "place", "message", "hint"),
    [
        ("nodez: 2", "nodes: 2", (5, 3), "unknown key 'nodez' in spec", "did you mean 'nodes'?"),
        ("lr: 2", "nodes: 2", (5, 3), "unknown key 'lr' in spec", "this key lives at spec.trainer.optim.lr"),
        ("procs_per_node: 2", "nodes: 2", (5, 3), "unknown key 'procs_per_node'", "did you mean 'procsPerNode'?"),
        ("nodes: two", "nodes: 2", (5, 10), "spec.nodes is 'two'; expected a whole number", ""),
        ("nodes: 0", "nodes: 2", (5, 10), "nodes is 0; a job has 1 to 10000", ""),
        ("env: {X: 1}", "nodes: 2", (5, 12), "spec.env.X is 1; expected a text", 'put it in quotes: "1"'),
        ("duration: 10 parsecs", "duration: 10ep", (7, 15), "'10 parsecs' is no length of training", ""),
        ("duration: 30min", "duration: 10ep", (7, 15), "30m is a time; write ep, step, sample or tok", ""),
        ("optim: {lr: 0.1, name: adanw}", "optim: {lr: 0.1}", (11, 28), "is 'adanw'; it can be 'adamw', 'adam'", "did you mean 'adamw'?"),
        ("optim: {}", "optim: {lr: 0.1}", (11, 5), "spec.trainer.optim has no 'lr'", "add lr: …"),
        ("optim: {lr: -1}", "optim: {lr: 0.1}", (11, 17), "spec.trainer.optim.lr is -1; it must be more than 0", ""),
        ("batch: {global: 9, micro: 2}", "batch: {global: 8, micro: 2}", (10, 12), "make global 8 or 10", ""),
        ("batch: [8, 2]", "batch: {global: 8, micro: 2}", (10, 12), "spec.trainer.batch is a list; expected a mapping", ""),
        ('use: "m.Net"', 'use: "m:Net"', (8, 18), "is 'm.Net'; it must be module:attribute, such as train:Net", ""),
        ("duration: 10", "duration: 10ep", (7, 15), "10 is no length of training; write a number and a unit: 10ep, 500step, 2e6sample, 1e9tok", ""),
        ("optim: {lr: 0.1}\n    checkpoint: {every: 5}", "optim: {lr: 0.1}", (12, 25), "every: 5 is no length of training; write a number and a unit: 10ep", ""),
        ("optim: {lr: 0.1}\n    task: {use: foo}", "optim: {lr: 0.1}", (12, 17), "it can be 'supervised', 'causal_lm', 'multi_task', 'distill' or 'detection', or module:attribute", ""),
        ("\tnodes: 2", "  nodes: 2", (5, 1), "indent with spaces, tabs are not allowed here", ""),
        ("nodes: 2\n  nodes: 3", "nodes: 2", (6, 3), "the key 'nodes' stands here a second time", ""),
        ("nodes: &a 2\n  ttl: *b", "nodes: 2", (6, 8), "there is no anchor &b", ""),
        ("nodes: !!int 2", "nodes: 2", (5, 10), "tags such as tag:yaml.org,2002:int have no meaning", ""),
        ("<<: {}", "nodes: 2", (5, 3), "merge keys (<<) are not part of YAML 1.2", ""),
        ("1: 2", "nodes: 2", (5, 3), "a key must be a text, but 1 is not; put it in quotes", ""),
        ("nodes: .inf", "nodes: 2", (5, 10), ".inf is no finite number", ""),
        ("nodes: [2", "nodes: 2", (6, 10), "this is no YAML", ""),
        ("script: {path: a.py}", "nodes: 2", (5, 3), "both trainer and script; give exactly one", ""),
    ],
)  # fmt: skip
def test_a_mistake_is_told_where_it_stands(
    wrong: str, right: str, place: tuple[int, int], message: str, hint: str
) -> None:
    problem = the_problem(GOOD.replace(right, wrong, 1))
    assert message in problem.message
    assert hint in problem.hint
    assert (problem.line, problem.column) == place


def test_several_mistakes_are_told_at_once() -> None:
    text = GOOD.replace("nodes: 2", "nodez: 2").replace("lr: 0.1", "lr: fast").replace("10ep", "tenepochs")
    assert [problem.line for problem in problems(text)] == [5, 7, 11]


def test_the_frame_shows_the_line_and_a_caret() -> None:
    assert str(the_problem(GOOD.replace("nodes: 2", "nodez: 2"))) == (
        "error: unknown key 'nodez' in spec\n --> job.yaml:5:3\n  |\n5 |   nodez: 2\n  |   ^^^^^ did you mean 'nodes'?"
    )


def test_a_very_long_line_is_cut_around_the_place() -> None:
    text = GOOD.replace("nodes: 2", f"env: {{{', '.join(f'A{number}: x' for number in range(200))}, B: 1}}")
    assert all(len(line) < 200 for line in str(the_problem(text)).splitlines())


class TestScalars:
    """YAML 1.2's core schema, not the surprises of 1.1."""

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("no", "no"), ("on", "on"), ("010", 10), ("1e3", 1000.0), ("1:30", "1:30"), ("0x1F", 31), ("0o17", 15),
            ("~", None), ("true", True), ("1_000", "1_000"), ("2026-01-01", "2026-01-01"), ("'1'", "1"), ("-.5", -0.5),
        ],
    )  # fmt: skip
    def test_plain_scalars(self, text: str, value: Any) -> None:
        assert compose(f"x: {text}", "f").value == {"x": value}


class TestGuards:
    def test_deep_nesting_is_refused(self) -> None:
        assert "levels of nesting" in the_problem("a: " + "[" * 100_000).message
        assert (
            "levels of nesting" in the_problem("\n".join("  " * depth + "a:" for depth in range(MAX_DEPTH + 5))).message
        )

    def test_an_alias_bomb_is_refused(self) -> None:
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
        assert "aliases expanded" in the_problem("\n".join(lines)).message

    def test_an_alias_may_be_used(self) -> None:
        assert compose("a: &x {b: 1}\nc: *x", "f").value == {"a": {"b": 1}, "c": {"b": 1}}

    def test_an_alias_inside_its_own_anchor_is_refused(self) -> None:
        assert "there is no anchor" in the_problem("a: &a [*a]").message

    def test_a_huge_file_is_refused(self) -> None:
        assert "larger than 1 MiB" in the_problem("#" * (1 << 20) + "\n" + GOOD).message

    def test_a_huge_number_is_refused(self) -> None:
        assert (
            "longer than any setting needs" in the_problem(GOOD.replace("nodes: 2", "nodes: " + "9" * 10_000)).message
        )

    @pytest.mark.parametrize("text", ["", "# only a comment\n"])
    def test_an_empty_file_is_told(self, text: str) -> None:
        assert "the file is empty" in the_problem(text).message

    def test_a_second_document_is_told(self) -> None:
        assert "another begins here" in the_problem(GOOD + "---\n" + GOOD).message

    def test_a_list_is_no_job(self) -> None:
        assert "a job file is a mapping" in the_problem("- a\n").message


class TestOverrides:
    def test_a_value_is_typed_by_the_schema(self) -> None:
        job, _ = parse_job(
            GOOD, "f", ["nodes=3", "trainer.optim.lr=1e-2", "env.X=010", "spec.trainer.deterministic=true"]
        )
        assert job.spec.nodes == 3
        assert job.spec.env == {"X": "010"}
        assert job.spec.trainer is not None
        assert (job.spec.trainer.optim.lr, job.spec.trainer.deterministic) == (0.01, True)

    def test_lists_are_reached_by_number(self) -> None:
        text = GOOD.replace("nodes: 2", "volumes: [{name: a, mountPath: /a, emptyDir: true}]")
        job, _ = parse_job(text, "f", ["volumes.0.mountPath=/b"])
        assert job.spec.volumes[0].mount_path == "/b"

    def test_flow_values_are_read(self) -> None:
        job, _ = parse_job(GOOD, "f", ["trainer.checkpoint.every=[5step, 1min]"])
        assert job.spec.trainer is not None
        assert [str(span) for span in job.spec.trainer.checkpoint.every] == ["5step", "1m"]

    @pytest.mark.parametrize(
        ("every", "spans"), [("auto", []), ("[auto, 5step]", ["5step"])], ids=["alone", "beside a number of steps"]
    )
    def test_the_run_may_decide_when_to_save(self, every: str, spans: list[str]) -> None:
        job, _ = parse_job(GOOD, "f", [f"trainer.checkpoint.every={every}"])
        assert job.spec.trainer is not None
        checkpoint = job.spec.trainer.checkpoint
        assert checkpoint.is_auto
        assert [str(span) for span in checkpoint.spans] == spans
        assert type(job).model_validate_json(job.model_dump_json(by_alias=True)) == job

    @pytest.mark.parametrize(
        ("override", "message", "hint"),
        [
            ("nodez=3", "unknown key 'nodez'", "did you mean 'nodes'?"),
            ("nodes=many", "spec.nodes is 'many'; expected a whole number", ""),
            ("nodes", "this is no setting; write --set path.to.key=value", ""),
            ("trainer.duration=soon", "'soon' is no length of training", ""),
            ("nodes=[", "this is no YAML", ""),
            ("trainer.batch.global=33", "make global 32 or 34", ""),
            ("trainer.track.1.sink=jsonl", "the list here has 0 items; 1 is none of them", ""),
        ],
    )
    def test_a_mistake_points_at_the_argument(self, override: str, message: str, hint: str) -> None:
        problem = the_problem(GOOD, (override,))
        assert message in problem.message
        assert hint in problem.hint
        assert problem.file == f"--set {override}"

    def test_a_mistake_of_the_file_stays_where_it_is(self) -> None:
        text = GOOD.replace("global: 8", "global: 9")
        problem = the_problem(text, ("trainer.batch.micro=4",))
        assert (problem.file, problem.line) == ("job.yaml", 10)

    def test_a_value_of_two_settings_belongs_to_the_last(self) -> None:
        assert the_problem(GOOD, ("nodes=many", "nodes=more")).file == "--set nodes=more"

    def test_null_is_the_default_again(self) -> None:
        text = GOOD.replace("optim: {lr: 0.1}", "optim: {lr: 0.1, args: {eps: 1.0}}\n    eval: {every: 1ep}")
        job, _ = parse_job(text, "f", ["trainer.eval=null", "trainer.optim.args.eps=null"])
        assert job.spec.trainer is not None
        assert job.spec.trainer.eval.every is None
        assert job.spec.trainer.optim.args == {"eps": None}  # an argument of the user's stays one

    def test_an_item_is_appended(self) -> None:
        job, _ = parse_job(GOOD, "f", ["trainer.track.0.sink=jsonl", "trainer.track.1.sink=tensorboard"])
        assert job.spec.trainer is not None
        assert [it.sink for it in job.spec.trainer.track] == ["jsonl", "tensorboard"]

    def test_the_file_is_not_changed_by_an_override(self) -> None:
        _, document = parse_job(GOOD, "f", ["nodes=3"])
        assert document["spec"]["nodes"] == 3
        assert parse_job(GOOD, "f")[1]["spec"]["nodes"] == 2


def test_every_pattern_has_words() -> None:
    def patterns(schema: Any) -> set[str]:
        if isinstance(schema, list):
            return {it for part in schema for it in patterns(part)}
        if not isinstance(schema, dict):
            return set()
        own = {schema["pattern"]} if isinstance(schema.get("pattern"), str) else set()
        return own | {it for part in schema.values() for it in patterns(part)}

    of_units = {it for it in patterns(TrainingJob.model_json_schema()) if r"\d+(" in it}
    assert patterns(TrainingJob.model_json_schema()) - of_units <= set(WORDS)


class TestFiles:
    def test_a_missing_file_says_how_to_begin(self, tmp_path: Path) -> None:
        with pytest.raises(SpecError, match=r"there is no file .*ktrain init"):
            load_job(tmp_path / "job.yaml")

    def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(SpecError, match="is a folder; name the job file in it"):
            load_job(tmp_path)

    def test_an_encoding_is_told_with_its_line(self, tmp_path: Path) -> None:
        path = tmp_path / "job.yaml"
        path.write_bytes(b"a: 1\nb: \xff\n")
        with pytest.raises(SpecErrors) as caught:
            load_job(path)
        assert caught.value.problems[0].line == 2

    def test_paths_are_relative_to_the_job_file(self, tmp_path: Path) -> None:
        (tmp_path / "job.yaml").write_text(GOOD, encoding="utf-8")
        loaded = load_job(tmp_path / "job.yaml")
        assert loaded.storage_url == str(tmp_path / "runs")
        assert storage_url("s3://bucket/x", tmp_path) == "s3://bucket/x"
