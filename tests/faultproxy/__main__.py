"""The proxy as a process: a shaped link for benchmarks.

python -m tests.faultproxy --upstream 127.0.0.1:8333 --rate 80e6 --delay 0.02 --rule '{"kind": "answer", "status": 503,
"code": "SlowDown", "method": "PUT", "skip": 3}'

Prints its endpoint in one line, then serves until SIGTERM or Ctrl-C.
"""

import argparse
import asyncio
import dataclasses
import json
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.faultproxy.proxy import Proxy
from tests.faultproxy.rules import Fault, Rule, Shape


def parse_rule(text: str) -> Rule:
    """A rule and its fault from one flat JSON object."""
    given: dict[str, Any] = json.loads(text)
    names = {field.name for field in dataclasses.fields(Fault)}
    fault = Fault(**{name: value for name, value in given.items() if name in names})
    return Rule(fault, **{name: value for name, value in given.items() if name not in names})


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is told to end."""
    parser = argparse.ArgumentParser(prog="python -m tests.faultproxy", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--upstream", required=True, help="host:port of the server")
    parser.add_argument("--port", type=int, default=0, help="to listen on; any free one")
    parser.add_argument("--rate", type=float, help="bytes per second, for each connection and direction")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before the first byte of each reply")
    parser.add_argument("--rule", type=parse_rule, action="append", default=[], help="a fault, as JSON")
    parser.add_argument("--log", type=Path, help="a file for the requests seen, as JSON lines, written at the end")
    given = parser.parse_args(arguments)
    host, _, port = given.upstream.rpartition(":")
    proxy = Proxy((host, int(port)), Shape(given.rate, given.delay))
    proxy.obey(given.rule)
    with suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(_serve(proxy, given.port))
    if given.log:
        given.log.write_text("".join(json.dumps(dataclasses.asdict(seen)) + "\n" for seen in proxy.log))


async def _serve(proxy: Proxy, port: int) -> None:
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with socket.create_server(("127.0.0.1", port), backlog=256) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        await proxy.serve(listener)


if __name__ == "__main__":
    main()
