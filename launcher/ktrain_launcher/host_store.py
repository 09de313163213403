"""Hosts the TCP store in which the ranks of one epoch find each other: `python -m ktrain_launcher.host_store HOST`.

Prints its port, then serves until it is killed. A program of its own, so that no launcher has to import torch.
"""

import signal
import sys
from typing import TYPE_CHECKING

from ktrain_launcher.wires import listen

if TYPE_CHECKING:  # the public name is there, but not for type checkers
    from torch._C._distributed_c10d import TCPStore
else:
    from torch.distributed import TCPStore


def main() -> None:
    """Never returns."""
    bind = sys.argv[1]
    listener = listen(bind, 0)
    port = listener.getsockname()[1]
    store = TCPStore(  # noqa: F841  -- serves for as long as it is referred to
        bind or "localhost", port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach()
    )
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
