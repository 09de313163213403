"""Says what a rank finds in its environment."""

import json
import os
import sys
import tempfile
from pathlib import Path

sys.stdout.write(f"environment {json.dumps(dict(os.environ))}\n")
tempfile.TemporaryFile().close()  # whatever the root file system allows
(Path.home() / "mine").touch()
