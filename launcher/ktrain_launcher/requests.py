"""What this pod is asked while it runs: a file that the annotation `ktrain.dev/request` appears in, answered in storage.

A thread of its own, so that a slow storage or a long step never keeps the agent from its ranks.
"""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from ktrain.errors import KtrainError, StorageError
from ktrain.history import read_head
from ktrain.request import Answer, Ask, Request, answer_key, encode_answer, profile_key
from ktrain.snapshot import Snapshot
from ktrain.storage import Storage
from ktrain.units import counted
from ktrain.voice import Say
from ktrain_launcher.board import Board
from ktrain_launcher.logs import Logs
from ktrain_launcher.ranks import Ranks
from ktrain_launcher.tally import Tally

POLL_SECONDS: Final = 0.1
LOOK_SECONDS: Final = 0.3  # between two looks at HEAD while a commit is awaited
DUMP_SECONDS: Final = 1.0
MUTE_SECONDS: Final = 60.0  # ranks that have not reported by then never will
HOLD_SECONDS: Final = 300.0  # whoever asked for the stop has vanished: train on
PROFILE_SECONDS: Final = 600.0
LAST_ANSWER_SECONDS: Final = 3.0
MAX_BYTES: Final = 1000


class Requests:
    """Answers each request once, also when the container is made again below the same annotation."""

    def __init__(self, path: Path | None, run: Storage, node: int, *, board: Board, logs: Logs, tally: Tally, say: Say):
        self._path, self._run, self._node = path, run, node
        self._board, self._logs, self._tally, self._say = board, logs, tally, say
        self._ranks: Ranks | None = None
        self._since = 0.0
        self._seen: set[str] = set()
        self._hold_until = 0.0
        self._is_held = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="requests", daemon=True)
        if path is not None:
            self._thread.start()

    # -- for the agent ---------------------------------------------------------------------------------------------
    def begin(self, ranks: Ranks | None) -> None:
        """These are the ranks now; None: none at all."""
        self._ranks, self._since = ranks, time.monotonic()

    @property
    def is_stop_wanted(self) -> bool:
        """Whether the ranks' stop was asked for."""
        return time.monotonic() < self._hold_until

    def hold(self, pause: Callable[[float], bool]) -> None:
        """Waits without ranks for as long as that was asked for; `pause` tells of SIGTERM."""
        while self.is_stop_wanted:
            if self._tally.state != "held":
                self._tally.state = "held"
                self._say("held", seconds=round(self._hold_until - time.monotonic()))
            self._is_held.set()
            if pause(POLL_SECONDS):
                return
        self._is_held.clear()

    def close(self) -> None:
        """Listens no more; an answer under way gets a moment."""
        self._ended.set()
        if self._path is not None:
            self._thread.join(LAST_ANSWER_SECONDS)

    # -- the thread ------------------------------------------------------------------------------------------------
    def _listen(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            text = self._read()
            if text and text not in self._seen:
                self._seen.add(text)
                self._heed(text)

    def _read(self) -> str:
        assert self._path is not None
        try:
            return self._path.read_bytes()[:MAX_BYTES].decode(errors="replace").strip()
        except OSError:  # no such annotation
            return ""

    def _heed(self, text: str) -> None:
        try:
            request = Request.decode(text)
        except ValueError as error:
            self._say("request_refused", request=text, error=error)
            return
        if self._is_answered(request):
            return
        self._say("request", ask=request.ask, id=request.id)
        answer = self._answer(request)
        self._tally.answer = answer.document()
        self._say("answer", ask=request.ask, id=request.id, ok=answer.ok, message=answer.message, step=answer.step)
        try:
            self._run.put(answer_key(request.id, self._node), encode_answer(answer))
        except StorageError as error:
            self._say("storage_failed", key=answer_key(request.id, self._node), error=error)

    def _is_answered(self, request: Request) -> bool:
        """By the launcher before us in this pod."""
        try:
            return self._run.stat(answer_key(request.id, self._node)) is not None
        except StorageError as error:  # then it is answered twice, which harms less than not at all
            self._say("storage_failed", key=answer_key(request.id, self._node), error=error)
            return False

    def _answer(self, request: Request) -> Answer:
        work: Mapping[Ask, Callable[[Request], Answer]] = {
            Ask.CHECKPOINT: self._checkpoint,
            Ask.STACKS: self._stacks,
            Ask.PROFILE: self._profile,
            Ask.STOP: self._stop,
        }
        try:
            return work[request.ask](request)
        except KtrainError as error:
            return self._told(request, ok=False, message=str(error))

    def _told(
        self, request: Request, *, ok: bool, message: str, step: int | None = None,
        stacks: Mapping[str, list[str]] | None = None,
    ) -> Answer:  # fmt: skip
        return Answer(request.id, request.ask, self._node, ok, message, step, stacks or {})

    def _checkpoint(self, request: Request) -> Answer:
        if problem := self._wait_for_reports():
            return self._told(request, ok=False, message=problem)
        ranks, before = self._ranks, self._committed()
        asked_at = max(it.step for it in self._board.snapshots().values())
        failures = self._failures()
        if ranks is not None:
            ranks.ask_to_save()
        while ranks is self._ranks and ranks is not None and ranks.alive and not self._ended.is_set():
            step = self._committed()
            if step != before and step >= asked_at:
                return self._told(request, ok=True, message=f"step {step} is committed", step=step)
            if self._failures() > failures:
                return self._told(request, ok=False, message="the checkpoint could not be written; the log says why")
            self._ended.wait(LOOK_SECONDS)
        step = self._committed()
        if step >= asked_at:
            return self._told(request, ok=True, message=f"step {step} is committed", step=step)
        return self._told(request, ok=False, message="the ranks ended before they had saved")

    def _wait_for_reports(self) -> str:
        """Until a rank can hear us: before its first report a signal would be lost. A sentence when none ever will."""
        while not self._ended.is_set():
            if self._board.snapshots():
                return ""
            if self._are_mute:
                return "the script does not report to ktrain, so it cannot be asked to save; see ktrain_trainer.init()"
            self._ended.wait(POLL_SECONDS)
        return "the launcher ended before its ranks reported"

    @property
    def _are_mute(self) -> bool:
        return self._ranks is not None and time.monotonic() - self._since > MUTE_SECONDS

    def _stacks(self, request: Request) -> Answer:
        ranks = self._ranks
        if ranks is None or not ranks.alive:
            return self._told(request, ok=False, message=f"no rank runs in this pod now ({self._tally.state})")
        mark = self._logs.mark()
        ranks.ask_for_stacks()
        self._ended.wait(DUMP_SECONDS)
        stacks = {str(rank): lines for rank, lines in self._logs.since(mark).items()}
        return self._told(request, ok=True, message=f"stacks of {counted(len(stacks), 'rank')}", stacks=stacks)

    def _profile(self, request: Request) -> Answer:
        """Of the rank that is meant, or of this pod's first. Waits no longer than until something else is asked."""
        if problem := self._wait_for_reports():
            return self._told(request, ok=False, message=problem)
        ranks, found = self._ranks, self._board.snapshots()
        rank = request.rank if request.rank is not None else min(found, default=0)
        if ranks is None or rank not in found or rank not in ranks.alive:
            return self._told(request, ok=False, message=f"rank {rank} does not run in this pod now")
        before, end = found[rank], time.monotonic() + PROFILE_SECONDS
        ranks.ask_for_profile(rank)
        while ranks is self._ranks and rank in ranks.alive and not self._ended.wait(POLL_SECONDS):
            if answer := self._profiled(request, rank, before):
                return answer
            if time.monotonic() > end or self._read() != request.encode():
                return self._told(request, ok=False, message=f"rank {rank} has not made all steps of a profile yet")
        ended = f"rank {rank} ended before it had made all steps of a profile"
        return self._profiled(request, rank, before) or self._told(request, ok=False, message=ended)

    def _profiled(self, request: Request, rank: int, before: Snapshot) -> Answer | None:
        now = self._board.snapshots().get(rank, before)
        if now.profiles > before.profiles:
            where = f"{self._run.url}/{profile_key(now.profile_step, rank)}"
            return self._told(request, ok=True, message=where, step=now.profile_step)
        if now.profile_failures > before.profile_failures:
            return self._told(request, ok=False, message="the profile could not be taken; the log says why")
        return None

    def _stop(self, request: Request) -> Answer:
        self._hold_until = time.monotonic() + HOLD_SECONDS
        while not self._is_held.wait(POLL_SECONDS) and self.is_stop_wanted and not self._ended.is_set():
            # Before its first report a rank of ours has no handler yet, and a SIGTERM would kill it unsaved.
            if self._ranks is not None and (self._board.snapshots() or self._are_mute):
                self._ranks.ask_to_stop()
        if not self._is_held.is_set():
            return self._told(request, ok=False, message="the ranks did not stop in time, or the pod ended")
        step = self._committed()
        where = f"step {step} is committed" if step >= 0 else "nothing is committed yet"
        return self._told(
            request, ok=True, message=f"the ranks have stopped; {where}", step=step if step >= 0 else None
        )

    def _committed(self) -> int:
        head = read_head(self._run)
        return head.commits[-1].step if head and head.commits else -1

    def _failures(self) -> int:
        return sum(it.checkpoint_failures for it in self._board.snapshots().values())
