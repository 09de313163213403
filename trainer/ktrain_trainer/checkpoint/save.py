"""One save: staged bytes become objects, a manifest and a commit, in a background thread."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from ktrain.checkpoints.commit import commit_manifest
from ktrain.checkpoints.manifest import Manifest, ObjectEntry, block_checksums
from ktrain.checkpoints.readers import keep
from ktrain.checkpoints.retention import Retention
from ktrain.errors import CheckpointError, KtrainError, SupersededError
from ktrain.history import Commit, Head, Token
from ktrain.storage import Storage
from ktrain_trainer.checkpoint.entries import make_manifest, tensor_entries
from ktrain_trainer.checkpoint.exchange import Exchange
from ktrain_trainer.checkpoint.header import Header
from ktrain_trainer.checkpoint.plan import Layout, ObjectPlan, Plan
from ktrain_trainer.checkpoint.staging import Copying, Staged
from ktrain_trainer.checkpoint.upload import upload
from ktrain_trainer.checkpoint.world import World

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """Sizes and limits of a save; the format holds for any of them."""

    object_bytes: int = 16 << 20  # the least; objects have up to twice as many
    block_bytes: int = 1 << 20
    deadline_seconds: float = 600
    uploads: int = 16  # objects at a time, for each rank


@dataclass(frozen=True, slots=True)
class Place:
    """Where a save goes and under which rules."""

    storage: Storage
    token: Token
    world: World
    folder: str  # never used before
    retention: Retention
    options: Options


class Pending:
    """A save on its way."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.size_bytes = 0  # of the whole checkpoint
        self.stall_seconds = 0.0  # how long save() kept the caller
        self.train_seconds = 0.0  # of this process's training, in what is saved; who counts them sets it
        self.seconds: float | None = None  # from save() until the outcome was known
        self._started = time.monotonic()
        self._event = threading.Event()
        self._commit: Commit | None = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        """Whether it is committed or failed."""
        return self._event.is_set()

    def result(self, timeout: float | None = None) -> Commit:
        """Waits for the outcome; raises what made it fail, TimeoutError when it is not known in time."""
        if not self._event.wait(timeout):
            raise TimeoutError(f"the save of step {self.step} is still on its way after {timeout:g} s")
        if self._error is not None:
            raise self._error
        assert self._commit is not None
        return self._commit

    def _settle(self, commit: Commit | None, error: BaseException | None) -> None:
        self._commit, self._error = commit, error
        self.seconds = time.monotonic() - self._started
        self._event.set()


class Save:
    """The part of a save that runs beside training."""

    def __init__(
        self,
        place: Place,
        pending: Pending,
        exchange: Exchange,
        *,
        on_commit: Callable[[Head, tuple[Commit, ...]], None],
        on_failure: Callable[[str], None],
    ) -> None:
        """on_failure hears of the folder that came to nothing."""
        self._place, self._pending, self._exchange = place, pending, exchange
        self._on_commit, self._on_failure = on_commit, on_failure

    def run(
        self,
        header: Header,
        layouts: Mapping[str, Layout],
        plan: Plan,
        copying: Copying,
        give_back: Callable[[], None],
    ) -> None:
        """Uploads, then commits on rank 0 or waits for its verdict; never raises, the outcome is the Pending's.

        `give_back` is called when the copy is of use to the next save.
        """
        try:
            checksums = upload(
                self._copied(copying, give_back),
                self._write,
                at_once=self._place.options.uploads,
                listen=self._exchange.check,
                on_quiet=give_back,
            )
            outcome = {"digest": plan.digest, "checksums": checksums}
            self._exchange.report(outcome)
            if self._place.world.rank == 0:
                self._lead(header, layouts, plan, outcome)
            else:
                self._pending._settle(Commit(**self._exchange.verdict()), None)
        except Exception as error:  # noqa: BLE001  -- whatever it is, peers and caller must hear of it
            self.fail(error)

    def supersede(self) -> None:
        """A newer save is there before this one's turn came."""
        self._drop("a newer one is there and the one before is still being written")

    def give_way(self) -> None:
        """The one before has not had its turn yet and must not be dropped."""
        self._drop("the one before must be kept and still waits for its turn")

    def fail(self, error: BaseException) -> None:
        """Tells the peers and the caller."""
        self._exchange.fail(error)
        self._on_failure(self._place.folder)
        self._pending._settle(None, error)

    def _drop(self, why: str) -> None:
        told = f"the checkpoint of step {self._pending.step} was dropped, as {why}: storage is slower than trainer.checkpoint.every"
        self.fail(SupersededError(told))

    def _copied(self, copying: Copying, give_back: Callable[[], None]) -> Sequence[Staged]:
        try:
            return copying.wait()
        except BaseException:
            give_back()
            raise

    def _write(self, item: Staged) -> list[str]:
        self._exchange.check()
        checksums = block_checksums(item.data, self._place.options.block_bytes)
        self._place.storage.create(f"{self._place.folder}/{item.plan.file_name}", item.data)
        return list(checksums)

    def _lead(self, header: Header, layouts: Mapping[str, Layout], plan: Plan, own: dict[str, Any]) -> None:
        place = self._place
        outcomes = self._exchange.gather(own)
        if odd := [rank for rank, outcome in enumerate(outcomes) if outcome["digest"] != plan.digest]:
            raise CheckpointError(
                f"ranks {odd} have other tensors than rank 0; every rank must save the same model and optimizer"
            )
        manifest = _manifest(place, header, layouts, plan, [outcome["checksums"] for outcome in outcomes])
        made, head, removed = commit_manifest(
            place.storage,
            place.token,
            manifest,
            folder=place.folder,
            metric=header.metric,
            keep=partial(keep, place.storage, place.retention),
        )
        self._exchange.publish(asdict(made))
        self._pending._settle(made, None)
        self._tidy(head, removed)

    def _tidy(self, head: Head, removed: tuple[Commit, ...]) -> None:
        try:
            self._on_commit(head, removed)
        except KtrainError as error:  # the checkpoint is committed; what stays behind is swept at the next start
            _LOG.warning("old checkpoints not removed: %s", error)


def _manifest(
    place: Place, header: Header, layouts: Mapping[str, Layout], plan: Plan, checksums: list[list[list[str]]]
) -> Manifest:
    by_rank = [iter(of_rank) for of_rank in checksums]
    objects = [_entry(place, item, next(by_rank[item.rank])) for item in plan.objects]
    tensors = tensor_entries(layouts, plan)
    return make_manifest(place.token, header, world_size=place.world.size, objects=objects, tensors=tensors)


def _entry(place: Place, item: ObjectPlan, checksums: list[str]) -> ObjectEntry:
    key = f"{place.folder}/{item.file_name}"
    return ObjectEntry(key, item.size_bytes, place.options.block_bytes, tuple(checksums))
