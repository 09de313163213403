"""Which keys and prefixes are allowed: relative, plain, and never outside their storage."""

from typing import Final

from ktrain.errors import StorageError

MAX_KEY_BYTES: Final = 1024  # S3's limit
RESERVED: Final = ".~"  # begins the names of our own locks and temporary files, which are never objects


def check_key(key: str) -> str:
    """The key itself; raises StorageError when it is empty, absolute, or could escape."""
    if reason := _fault(key):
        raise StorageError(f"{key[:200]!r} cannot be a storage key: {reason}")
    return key


def check_prefix(prefix: str) -> str:
    """Like check_key, for the beginning of keys: may be empty, may end anywhere."""
    if prefix and (reason := _fault(prefix.removesuffix("/"))):
        raise StorageError(f"{prefix[:200]!r} cannot be a storage prefix: {reason}")
    return prefix


def check_folder(folder: str) -> str:
    """A folder's prefix: empty or ending in exactly one slash."""
    check_prefix(folder)
    return folder if not folder or folder.endswith("/") else folder + "/"


def _fault(key: str) -> str | None:
    if not key:
        return "it is empty"
    if any(ord(char) < 32 or ord(char) == 127 or char == "\\" for char in key):
        return "it holds a backslash or a control character"
    try:
        too_long = len(key.encode()) > MAX_KEY_BYTES
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    if too_long:
        return f"it is longer than {MAX_KEY_BYTES} bytes"
    parts = key.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return "it must be relative, without empty parts, '.' or '..'"
    if any(part.startswith(RESERVED) for part in parts):
        return f"names that begin with {RESERVED} are reserved"
    return None
