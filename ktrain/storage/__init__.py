"""Where runs keep their bytes: `file://` and `s3://` behind one small protocol."""

from ktrain.storage.base import Data, Stat, Storage
from ktrain.storage.open import open_storage
from ktrain.storage.scoped import scoped

__all__ = ["Data", "Stat", "Storage", "open_storage", "scoped"]
