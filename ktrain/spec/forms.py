"""The forms of texts in the job file: the pattern that the schema gives to editors, and the words that a person reads."""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Form(NamedTuple):
    """A text's form."""

    pattern: str
    words: str


TARGET: Final = Form(r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$", "module:attribute, such as train:Net")
SHORT_NAME: Final = Form(r"^[a-z][a-z0-9_]*$", "a name that ktrain knows, or module:attribute")
MONITOR: Final = Form(r"^val/[A-Za-z_][\w.]*$", "val/ and the name of a metric, such as val/loss")
LABEL: Final = Form(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "small letters, digits and dashes, with no dash at its ends")
ENV_NAME: Final = Form(r"^[A-Za-z_][A-Za-z0-9_]*$", "letters, digits and underscores, with no digit at its beginning")
NO_NUL: Final = Form(r"^[^\x00]*$", "a text without NUL characters")
SOME_NO_NUL: Final = Form(r"^[^\x00]+$", "a text without NUL characters")
QUANTITY: Final = Form(r"^\d+(\.\d+)?([eE]\d+|m|k|[KMGTPE]i?)?$", "a Kubernetes quantity, such as 2, 500m or 8Gi")
ENDPOINT: Final = Form(r"^https?://[^@\s]+$", "an http:// or https:// URL without credentials")
PROJECT: Final = Form(r"^[^/\\#?%:]+$", "a name without any of / \\ # ? % :")
MOUNT_PATH: Final = Form(r"^/[^\x00:]*$", "an absolute path without colons")
IMAGE: Final = Form(r"^[^\s]+$", "the name of an image, without spaces")

WORDS: Final[Mapping[str, str]] = {
    form.pattern: form.words
    for form in (
        TARGET, SHORT_NAME, MONITOR, LABEL, ENV_NAME, NO_NUL, SOME_NO_NUL, QUANTITY, ENDPOINT, PROJECT, MOUNT_PATH, IMAGE
    )
}  # fmt: skip
