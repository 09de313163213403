"""Says what a rank finds in its environment."""

import json
import os
import sys

sys.stdout.write(f"environment {json.dumps(dict(os.environ))}\n")
