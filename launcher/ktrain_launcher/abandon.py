"""What is left of saves that were cut short, when nobody comes who would finish or replace them."""

from ktrain.checkpoints.tidy import sweep
from ktrain.errors import KtrainError
from ktrain.history import Token, read_head
from ktrain.storage import Storage
from ktrain.voice import Say


def abandon(run: Storage, token: Token, say: Say) -> None:
    """Deletes objects that no commit names, of this epoch and of those before; its ranks have ended.

    Not when a later epoch has begun: whoever that is, is at work, and sweeps up after us.
    """
    try:
        head = read_head(run)
        if head and head.epoch == token.epoch:
            for folder in sweep(run, Token(token.attempt, token.epoch + 1), head):
                say("save_abandoned", folder=folder)
    except KtrainError as error:  # storage may be what ended the job
        say("storage_failed", key=token.prefix, error=error)
