"""What a request is about, in a checkpoint's words; a request of no role makes the exhaustive tests fail."""

import re
from typing import Final

from ktrain.names import KEY_HEAD, KEY_MANIFEST
from ktrain.storage.keys import RESERVED

ROLES: Final = ("probe", "list", "delete", "data", "manifest", "head", "other")


def role_of(method: str, key: str, query: str = "") -> str:
    """The role of a request for a key; `query` as in the URL."""
    name = key.rpartition("/")[2]
    if name.startswith(f"{RESERVED}probe"):
        return "probe"
    if re.search(r"(^|&)(list-type|prefix|delimiter)=", query):
        return "list"
    if method == "DELETE" or re.search(r"(^|&)delete(=|&|$)", query):
        return "delete"
    if name == KEY_MANIFEST:
        return "manifest"
    if name == KEY_HEAD:
        return "head"
    return "data" if re.fullmatch(r"\d+-\d+\.bin", name) else "other"
