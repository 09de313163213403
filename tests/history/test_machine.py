"""Claims, commits, retention, pruning, sweeps and readers in any order, against a model that a reader can check by eye."""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from ktrain.checkpoints.manifest import Chunk, Manifest, ObjectEntry, TensorEntry, block_checksums, encode_manifest
from ktrain.checkpoints.prune import Pruned, plan, prune
from ktrain.checkpoints.read import DamagedError, read_blocks, read_manifest
from ktrain.checkpoints.retention import Retention
from ktrain.checkpoints.tidy import folder_of, remove, sweep
from ktrain.errors import FencedError, StorageError
from ktrain.history import FORMAT, Commit, Head, Token, claim_epoch, commit, mark_done, read_head
from ktrain.names import KEY_MANIFEST
from ktrain.storage import Storage
from ktrain.storage.file import FileStorage
from ktrain.storage.memory import MemoryStorage
from tests.faults import FaultyStorage, refuse

BLOCK = 16
RETENTIONS = st.builds(Retention, st.integers(0, 3), st.integers(0, 2), st.sampled_from(["min", "max"]))
MORE = st.sampled_from([1, 1, 1, 2, 0, -1, -2])
SIZES = st.integers(1, 40)
METRICS = st.none() | st.sampled_from([0.1, 0.2, 0.3])


@dataclass(frozen=True)
class Written:
    """A save that is on storage and waits for its commit, of which there is one: a second may come after its removal."""

    commit: Commit
    data: bytes


@dataclass(frozen=True)
class Left:
    """What a writer still has to tidy after its commit, now or much later."""

    token: Token
    head: Head
    removed: tuple[Commit, ...]


@dataclass(frozen=True)
class Reading:
    """A reader that has seen HEAD and has not come further yet."""

    commit: Commit


class Histories(RuleBasedStateMachine):
    """A run in storage beside its model: who may write, and which commits HEAD must name."""

    storage: Storage
    steps: ClassVar[int] = 0

    tokens: Bundle[Token] = Bundle("tokens")
    saves: Bundle[Written] = Bundle("saves")
    plans: Bundle[Pruned] = Bundle("plans")
    left: Bundle[Left] = Bundle("left")
    readers: Bundle[Reading] = Bundle("readers")

    def __init__(self) -> None:
        super().__init__()
        self.open()
        self.token = Token(0, 0)
        self.commits: tuple[Commit, ...] = ()
        self.is_done = False
        self.folders = 0
        self.contents: dict[str, bytes] = {}  # by manifest: what its tensor must be

    def open(self) -> None:
        """Makes the storage."""
        self.storage = MemoryStorage()

    @initialize(target=tokens)
    def claim_first(self) -> Token:
        return self._claim(1)

    @rule(target=tokens, more=st.integers(0, 1))
    def claim(self, more: int) -> Token:
        return self._claim(more)

    def _claim(self, more: int) -> Token:
        self.token = Token(self.token.attempt + more, self.token.epoch + 1)
        assert claim_epoch(self.storage, attempt=self.token.attempt) == self.token
        return self.token

    @rule(fewer=st.integers(1, 3))
    def claim_of_an_older_attempt_is_refused(self, fewer: int) -> None:
        if fewer <= self.token.attempt:
            with pytest.raises(FencedError):
                claim_epoch(self.storage, attempt=self.token.attempt - fewer)

    @rule(target=tokens, held=tokens)
    def claim_again(self, held: Token) -> Any:
        if held == self.token:
            self.token = replace(held, epoch=held.epoch + 1)
            assert claim_epoch(self.storage, attempt=held.attempt, held=held) == self.token
            return self.token
        with pytest.raises(FencedError):
            claim_epoch(self.storage, attempt=self.token.attempt, held=held)
        return multiple()

    @rule(target=left, more=MORE, size=SIZES, metric=METRICS, retention=RETENTIONS)
    def saves_a_step(self, more: int, size: int, metric: float | None, retention: Retention) -> Any:
        """As training does most of the time; now and then a step that was saved before, after a restore of an older one."""
        return self._commit(self.storage, self._write(self.token, self._step(more), size, metric), retention.keep)

    @rule(target=left, more=MORE, size=SIZES, metric=METRICS)
    def saves_a_step_and_keeps_all(self, more: int, size: int, metric: float | None) -> Any:
        return self._commit(self.storage, self._write(self.token, self._step(more), size, metric), keep_all)

    @rule(target=saves, more=MORE, size=SIZES, metric=METRICS)
    def writes(self, more: int, size: int, metric: float | None) -> Written:
        """All of a save but its commit."""
        return self._write(self.token, self._step(more), size, metric)

    @rule(target=saves, token=tokens, more=MORE, size=SIZES, metric=METRICS)
    def writes_as_anybody(self, token: Token, more: int, size: int, metric: float | None) -> Written:
        """A zombie too."""
        return self._write(token, self._step(more), size, metric)

    def _step(self, more: int) -> int:
        return max((self.commits[-1].step if self.commits else 0) + more, 0)

    def _write(self, token: Token, step: int, size: int, metric: float | None) -> Written:
        self.folders += 1
        folder = f"{token.prefix}/step-{step:09d}-{self.folders}"
        data = hashlib.shake_128(folder.encode()).digest(size)
        key = f"{folder}/0000-0000.bin"
        manifest = Manifest(
            format=FORMAT, run="run", attempt=token.attempt, epoch=token.epoch, step=step, created=0.0, world_size=1,
            meta={}, optimizer=None, values={}, aliases={},
            objects=(ObjectEntry(key, size, BLOCK, block_checksums(memoryview(data), BLOCK)),),
            tensors={"t": TensorEntry("uint8", (size,), (Chunk((0,), (size,), 0, 0, size),))},
        )  # fmt: skip
        text = encode_manifest(manifest)
        self.storage.create(key, data)
        name = f"{folder}/{KEY_MANIFEST}"
        self.storage.create(name, text)
        self.contents[name] = data
        digest = hashlib.sha256(text).hexdigest()
        return Written(Commit(step, name, digest, token.attempt, token.epoch, size, 0.0, metric), data)

    @rule(token=tokens, step=st.integers(0, 9))
    def crash_in_the_middle_of_a_save(self, token: Token, step: int) -> None:
        self.folders += 1
        self.storage.create(f"{token.prefix}/step-{step:09d}-{self.folders}/0000-0000.bin", b"half")

    @rule(target=left, save=consumes(saves), retention=RETENTIONS)
    def commits_or_is_fenced(self, save: Written, retention: Retention) -> Any:
        return self._commit(self.storage, save, retention.keep)

    @rule(target=left, save=consumes(saves), retention=RETENTIONS)
    def commits_and_never_hears_of_it(self, save: Written, retention: Retention) -> Any:
        if save.commit.token != self.token:
            return multiple()
        faulty = FaultyStorage(self.storage, refuse, only="replace", after=True, for_ever=False)
        with pytest.raises(StorageError, match="the disk is full"):
            commit(faulty, save.commit.token, save.commit, keep=retention.keep)
        self._committed(save, retention.keep)
        return multiple()

    @rule(target=tokens, save=consumes(saves), retention=RETENTIONS)
    def a_claim_slips_into_a_commit(self, save: Written, retention: Retention) -> Any:
        """The commit has read HEAD, then somebody claims, then it writes."""
        if save.commit.token != self.token:
            return multiple()
        claimed: list[Token] = []

        def keep(commits: Sequence[Commit]) -> Sequence[Commit]:
            claimed.append(self._claim(0))
            return retention.keep(commits)

        with pytest.raises(FencedError):
            commit(self.storage, save.commit.token, save.commit, keep=keep)
        return claimed[0]

    @rule(target=left, save=consumes(saves), wanted=plans, retention=RETENTIONS)
    def a_pruning_slips_into_a_commit(self, save: Written, wanted: Pruned, retention: Retention) -> Any:
        """The commit has read HEAD, then somebody prunes, then it writes, and must not bring back what was pruned."""
        has_slipped: list[bool] = []

        def keep(commits: Sequence[Commit]) -> Sequence[Commit]:
            if not has_slipped:
                has_slipped.append(True)
                self._prune(wanted)
            return retention.keep(commits)

        return self._commit(self.storage, save, keep)

    def _commit(self, storage: Storage, save: Written, keep: Callable[[Sequence[Commit]], Sequence[Commit]]) -> Any:
        token = save.commit.token
        if token != self.token:
            with pytest.raises(FencedError):
                commit(storage, token, save.commit, keep=keep)
            return multiple()
        head, removed = commit(storage, token, save.commit, keep=keep)
        assert set(self._committed(save, keep)) == set(removed)
        return Left(token, head, removed)

    def _committed(self, save: Written, keep: Callable[[Sequence[Commit]], Sequence[Commit]]) -> list[Commit]:
        before = self.commits
        self.commits = tuple(keep([*(it for it in before if it.step < save.commit.step), save.commit]))
        self.is_done = False
        return [it for it in before if it not in self.commits]

    @rule(token=tokens)
    def marks_done_or_is_fenced(self, token: Token) -> None:
        if token == self.token:
            self.is_done = mark_done(self.storage, token).done
            assert self.is_done
        else:
            with pytest.raises(FencedError):
                mark_done(self.storage, token)

    @rule(left=left)
    def removes_what_it_replaced(self, left: Left) -> None:
        """Now, later, or twice."""
        remove(self.storage, left.removed)

    @rule(left=left)
    def sweeps(self, left: Left) -> None:
        """Also as a zombie, with the HEAD of long ago."""
        sweep(self.storage, left.token, left.head)

    @rule()
    def sweeps_now(self) -> None:
        head = read_head(self.storage)
        assert head
        sweep(self.storage, head.token, head)
        named = {folder_of(it) for it in self.commits}
        for epoch in self.storage.folders():
            if Token.parse(epoch).epoch < self.token.epoch:
                assert {f"{epoch}/{it}" for it in self.storage.folders(f"{epoch}/")} <= named

    @rule(target=plans, retention=st.builds(Retention, st.integers(1, 2)))
    def plans_a_pruning(self, retention: Retention) -> Pruned:
        head = read_head(self.storage)
        assert head
        return plan(self.storage, head, retention)

    @rule(last=st.integers(1, 2))
    def prunes_now(self, last: int) -> None:
        head = read_head(self.storage)
        assert head
        self._prune(plan(self.storage, head, Retention(last)))

    @rule(wanted=plans)
    def prune(self, wanted: Pruned) -> None:
        """With a plan that may be old: what was committed since stays."""
        self._prune(wanted)

    def _prune(self, wanted: Pruned) -> None:
        before = self.commits
        self.commits = tuple(it for it in before if it not in wanted.removed or it is before[-1])
        assert prune(self.storage, wanted).kept == self.commits
        assert not before or before[-1] in self.commits

    @rule(target=readers, which=st.integers(0, 5))
    def begins_to_read(self, which: int) -> Any:
        head = read_head(self.storage)
        return Reading(head.commits[which % len(head.commits)]) if head and head.commits else multiple()

    @rule(reader=readers)
    def reads(self, reader: Reading) -> None:
        """What was written, or a plain word that it is gone; and what HEAD names is not gone."""
        try:
            manifest = read_manifest(self.storage, reader.commit)
            (item,) = manifest.objects
            data = bytes(read_blocks(self.storage, item, 0, item.size))
        except DamagedError as error:
            if "is missing" not in str(error) or reader.commit in self.commits:
                raise
        else:
            assert data == self.contents[reader.commit.manifest]

    @invariant()
    def head_is_what_the_model_says(self) -> None:
        type(self).steps += 1
        head = read_head(self.storage)
        assert head
        assert (head.token, head.commits, head.done) == (self.token, self.commits, self.is_done)
        assert [it.step for it in head.commits] == sorted({it.step for it in head.commits})

    @invariant()
    def each_commit_is_whole(self) -> None:
        for it in self.commits:
            manifest = read_manifest(self.storage, it)
            (item,) = manifest.objects
            assert bytes(read_blocks(self.storage, item, 0, item.size)) == self.contents[it.manifest]


def keep_all(commits: Sequence[Commit]) -> Sequence[Commit]:
    return commits


class FileHistories(Histories):
    """The same on files."""

    def open(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.storage = FileStorage(Path(self._folder.name))

    def teardown(self) -> None:
        self._folder.cleanup()


def run(machine: type[Histories], examples: int) -> int:
    """Returns how many steps were made."""
    before = machine.steps
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
    return machine.steps - before


@pytest.mark.parametrize(("machine", "examples"), [(Histories, 25), (FileHistories, 5)])
def test_a_history_is_what_its_model_says(machine: type[Histories], examples: int) -> None:
    assert run(machine, examples) > 20 * examples


@pytest.mark.slow
@pytest.mark.parametrize(("machine", "examples", "steps"), [(Histories, 300, 10_000), (FileHistories, 60, 2_000)])
def test_ten_thousand_steps_of_histories(machine: type[Histories], examples: int, steps: int) -> None:
    assert run(machine, examples) > steps
