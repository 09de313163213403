"""Which exit code an exception deserves: the kind of failure decides who tries again."""

import json
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import torch
import torch.distributed as dist

import ktrain
from ktrain import names
from ktrain.errors import KtrainError
from ktrain.names import Exit

# gloo, NCCL and the CUDA driver raise plain RuntimeErrors with no code in them: their text is all there is to ask.
_PEER: Final = (
    "connection closed by peer", "connection reset", "connection refused", "broken pipe", "socket closed",
    "timed out waiting", "application timeout", "gloo", "nccl", "recv from rank", "send to rank", "failed to recv",
    "store might be", "ecc error", "unspecified launch failure", "cuda error", "socket timeout",
)  # fmt: skip


_OTHERS: Final = (*(f"{Path(it).parent}{os.sep}" for it in (ktrain.__file__, __file__, os.__file__)), "<frozen")
"""Folders of code that is not the user's: ours, and Python's."""
_USER: Final = ("device-side assert",)  # an index out of range in the user's own kernel call
_STAYS: Final = (PermissionError, IsADirectoryError, NotADirectoryError)  # so it is the next time too
_NO_PICTURE: Final = (
    "UnidentifiedImageError"  # Pillow's, which we do not need; an OSError, as if the disk were to blame
)


def classify(error: BaseException) -> Exit:
    """Permanent for what will fail again, retryable for hardware and network in disguise."""
    if isinstance(error, KtrainError):
        return error.exit
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return Exit.USER  # the same batch will not fit the next time either
    if isinstance(error, dist.DistError | ConnectionError | TimeoutError):
        return Exit.PEER
    if isinstance(error, FileNotFoundError):
        return Exit.DATA
    if isinstance(error, _STAYS) or type(error).__name__ == _NO_PICTURE:
        return Exit.USER
    if isinstance(error, OSError):
        return Exit.PEER  # reading the data set: network file systems fail and come back
    if isinstance(error, KeyboardInterrupt):
        return Exit.PREEMPTED
    text = str(error).lower() if isinstance(error, RuntimeError) else ""
    if any(part in text for part in _PEER) and not any(part in text for part in _USER):
        return Exit.PEER
    return Exit.USER


def report(error: BaseException, code: Exit, path: Path | None, *, step: int) -> Mapping[str, Any]:
    """Writes the error file that the launcher reads; returns what is in it."""
    is_ours = isinstance(error, KtrainError)
    is_lost = not is_ours and code == Exit.PEER and not _is_in_user_code(error)
    document = {
        "code": int(code),
        "kind": type(error).__name__,
        "message": _message(error, is_ours=is_ours, is_lost=is_lost),
        "traceback": "" if is_ours or is_lost else _traceback(error),
        "step": step,
    }
    if path is not None:
        path.write_text(json.dumps(document))
    return document


def _message(error: BaseException, *, is_ours: bool, is_lost: bool) -> str:
    if is_lost:
        return f"lost another rank: {error}"
    if is_ours:
        return str(error)
    mine = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame)]
    where = f" ({Path(mine[-1].filename).name}:{mine[-1].lineno})" if mine else ""
    return f"{type(error).__name__}: {error}{where}"


def _traceback(error: BaseException) -> str:
    """From the first frame of the user's own code on; all of it where there is none."""
    told = traceback.TracebackException.from_exception(error)
    first = next((at for at, frame in enumerate(told.stack) if _is_users(frame)), 0)
    told.stack = traceback.StackSummary.from_list(list(told.stack)[first:])
    return "".join(told.format())


def _is_users(frame: traceback.FrameSummary) -> bool:
    return not frame.filename.startswith(_OTHERS) and "site-packages" not in frame.filename


def _is_in_user_code(error: BaseException) -> bool:
    ours = tuple(str(Path(module.__file__ or "").parent) for module in (torch, sys.modules[__package__]))
    return any(not frame.filename.startswith(ours) for frame in traceback.extract_tb(error.__traceback__))


def install_hook() -> None:
    """For scripts: an exception that nobody catches ends the process with the code that it deserves."""
    sys.excepthook = _on_uncaught


def _on_uncaught(_kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    code = classify(error)
    path = os.environ.get(names.ENV_ERROR_FILE)
    document = report(error.with_traceback(trace), code, Path(path) if path else None, step=0)
    sys.stderr.write(document["traceback"] or f"{document['message']}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
