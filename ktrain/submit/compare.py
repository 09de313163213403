"""A job file beside the job of its name in a cluster."""

import json
from typing import Any

from ktrain.cluster import Cluster
from ktrain.diff import Difference, differences
from ktrain.jobs.find import environment, spec_of
from ktrain.load import Loaded
from ktrain.names import ENV_CODE
from ktrain.render.job import resolved
from ktrain.submit.pack import pack


def compare(cluster: Cluster, there: dict[str, Any], loaded: Loaded) -> list[Difference]:
    """What the file would change in it, the heaviest first; MissingError when ktrain cannot read the job's spec."""
    ours = pack(loaded.code_dir, loaded.job.spec.code.exclude).sha256 if loaded.job.spec.code else ""
    return differences(
        json.loads(resolved(spec_of(cluster, there))),
        json.loads(resolved(loaded.job)),
        code=(environment(there).get(ENV_CODE, ""), ours),
    )
