"""What every rank runs: `python -m ktrain_trainer`, started by the launcher."""

import faulthandler
import json
import logging
import os
import signal
import sys
from pathlib import Path

from ktrain import names


def main() -> None:
    """Sets what must be set before torch is imported, then works."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # the launcher asks a hung rank for its stacks
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("botocore").setLevel(logging.WARNING)  # each rank would tell where it found its credentials
    path = os.environ.get(names.ENV_SPEC)
    if not path:
        sys.exit(f"{names.ENV_SPEC} is not set: ranks are started by `ktrain run` or by the launcher in a pod")
    threads = json.loads(Path(path).read_text())["spec"]["trainer"]["threads"]
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    sys.path.insert(0, str(Path.cwd()))  # the code folder, where `use:` targets live

    from ktrain_trainer.stop import StopFlag

    stop = StopFlag().listen()
    from ktrain_trainer import worker
    from ktrain_trainer.place import read_job

    worker.leave(worker.work(read_job(), os.environ, stop))


main()
