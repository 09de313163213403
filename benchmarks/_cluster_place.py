"""Where the benchmark's cluster is: apart from the one of the tests. To be imported before anything of hack.cluster."""

import os
from typing import Final

PLACE: Final = {"KTRAIN_CLUSTER_RUN": "/run/ktrain-benchmark", "KTRAIN_CLUSTER_PREFIX": "ktb"}

os.environ |= {name: os.environ.get(name) or value for name, value in PLACE.items()}
