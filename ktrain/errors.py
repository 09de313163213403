"""What can go wrong for a user, each with the exit code that a pod and the command line give it."""

from typing import ClassVar

from ktrain.names import CliExit, Exit


class KtrainError(Exception):
    """A user's problem, told in one sentence: what happened, what was expected, what to do.

    `where` is the key of the job file that it is about, such as `spec.trainer.model.use`.
    """

    exit: ClassVar[Exit] = Exit.USER
    cli_exit: ClassVar[CliExit] = CliExit.FAILED

    def __init__(self, message: str = "", where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where


class SpecError(KtrainError):
    """The job file is wrong."""

    exit = Exit.SPEC
    cli_exit = CliExit.SPEC


class BuildError(KtrainError):
    """A `use:` target cannot be imported, called or built."""

    exit = Exit.BUILD
    cli_exit = CliExit.SPEC


class DataError(KtrainError):
    """Data is missing or is not what the run began with."""

    exit = Exit.DATA


class NonFiniteError(KtrainError):
    """The loss or the gradients are NaN or infinite."""

    exit = Exit.NONFINITE


class StorageError(KtrainError):
    """Storage cannot be read or written."""

    exit = Exit.STORAGE


class NotFound(StorageError):  # noqa: N818  -- reads as a fact, not as a failure
    """No object under that key."""

    cli_exit = CliExit.NOT_FOUND


class ShortRead(StorageError):  # noqa: N818
    """An object ends before the bytes that were asked for."""


class Conflict(StorageError):  # noqa: N818
    """A conditional write lost: somebody else wrote first."""

    cli_exit = CliExit.CONFLICT


class FencedError(StorageError):
    """A newer epoch has been claimed: this process is a zombie and must not write."""

    exit = Exit.MEMBERSHIP


class CheckpointError(StorageError):
    """A checkpoint cannot be written, or none that is whole can be read."""


class FullError(CheckpointError):
    """A run is at its end, and there is no room for what it has come to."""

    exit = Exit.FULL  # training it all again would end the same way


class SupersededError(CheckpointError):
    """A checkpoint was dropped before its turn came, as a newer one was there: storage is slower than they are made."""


class CheckpointMismatchError(CheckpointError):
    """A checkpoint is whole, but not one of this model, this optimizer or this version of ktrain."""

    exit = Exit.SPEC  # trying again cannot help


class PeerLostError(KtrainError):
    """Another rank, or the network to it, is gone."""

    exit = Exit.PEER


class ClusterError(KtrainError):
    """The cluster answered with a refusal, or there is none."""


class ForbiddenError(ClusterError):
    """Not allowed, or not logged in."""

    cli_exit = CliExit.AUTH


class MissingError(ClusterError):
    """The cluster has no such object."""

    cli_exit = CliExit.NOT_FOUND


class NoKindError(ClusterError):
    """The cluster does not know objects of this kind; not the same as having none of that name."""

    cli_exit = CliExit.NOT_FOUND


class TakenError(ClusterError):
    """The name is taken, or the object has changed meanwhile."""

    cli_exit = CliExit.CONFLICT


class UnreachableError(ClusterError):
    """The cluster, or the storage, does not answer."""

    cli_exit = CliExit.UNREACHABLE


class ExpiredError(ClusterError):
    """The cluster no longer remembers the version that was asked for: only a new list helps."""


class BusyError(ClusterError):
    """The cluster asks to be left alone for `after` seconds."""

    def __init__(self, message: str, *, after: float) -> None:
        super().__init__(message)
        self.after = after


class TimedOutError(ClusterError):
    """What was waited for did not happen in time."""

    cli_exit = CliExit.TIMEOUT
