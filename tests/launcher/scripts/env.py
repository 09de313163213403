"""Writes what it finds: environment, arguments, folder."""

import json
import os
import sys
from pathlib import Path

found = {"env": dict(os.environ), "argv": sys.argv[1:], "cwd": str(Path.cwd())}
(Path(os.environ["GANG_FOLDER"]) / f"found{os.environ['RANK']}.json").write_text(json.dumps(found))
