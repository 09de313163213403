"""Libraries of the extra `tune`."""

from functools import partial
from typing import Final

from ktrain.extras import require

need: Final = partial(require, extra="tune", what="this")
