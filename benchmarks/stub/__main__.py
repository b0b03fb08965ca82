"""A server made for load, so that it is the clients that are measured: ``-m benchmarks.stub``.

One process on uvloop plays what a dispatcher calls: InvokeEndpointAsync, the completion queue, and
objects; plain on one port and with TLS on another. It prints where as one line of JSON. What it
served, and the CPU it took for that, is at ``GET /_stub/stats``, since ``POST /_stub/reset``.
``POST /_stub/release``, ``redeliver`` and ``watch/<id>`` are methods of its ``Service``.
"""

import argparse
import asyncio
import gc
import json
import signal
import tempfile
from pathlib import Path

import uvloop

from benchmarks.stub.authority import make_context
from benchmarks.stub.service import QUEUE, Service
from benchmarks.stub.wire import Connection


async def serve(options: argparse.Namespace, folder: Path) -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    service = Service(
        options.delay_ms / 1000,
        options.response_in_event,
        hold=options.hold,
        hold_every=options.hold_every,
    )
    context, authority = make_context(folder)
    servers = [
        await loop.create_server(
            lambda: Connection(service), "127.0.0.1", port, ssl=ssl, backlog=1024
        )
        for port, ssl in ((options.port, None), (options.tls_port, context))
    ]
    plain, tls = (server.sockets[0].getsockname()[1] for server in servers)
    where = {
        "http": f"http://127.0.0.1:{plain}",
        "https": f"https://127.0.0.1:{tls}",
        "queue": f"http://127.0.0.1:{plain}{QUEUE}",
        "ca": str(authority),
    }
    print(json.dumps(where), flush=True)
    gc.disable()  # nothing here is in a cycle, and what is kept need not be looked through
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.stub", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="of HTTP; 0 any free one")
    parser.add_argument("--tls-port", type=int, default=0)
    parser.add_argument(
        "--delay-ms", type=float, default=20.0, help="between two batches of completions"
    )
    parser.add_argument("--response-in-event", action="store_true")
    parser.add_argument("--hold", type=int, default=0, help="invocations without an outcome")
    parser.add_argument("--hold-every", type=int, default=1, help="accepted, one of them held")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stub-") as folder:
        uvloop.run(serve(options, Path(folder)))


if __name__ == "__main__":
    main()
