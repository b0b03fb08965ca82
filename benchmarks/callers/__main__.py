"""One contender, alone in its process: ``-m benchmarks.callers NAME`` prints a measurement.

A client is opened and warmed up; how fast the warm-up went decides how many calls are measured.
CPU is this process's own, user and system, over the measured calls only. Only the contender's
imports are made, so that memory is its own, too.
"""

import argparse
import asyncio
import json
import os
import resource
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import islice
from pathlib import Path

import uvloop

from benchmarks.callers.call import Call, Invoke, InvokeLater, body, calls, check
from benchmarks.callers.contenders import CONTENDERS
from benchmarks.rig import ask

_WARM_UP_SECONDS = 0.3


def cpu_seconds() -> float:
    """Return the CPU time of this process, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_bytes() -> int:
    """Return the most memory that this process had; a child's ru_maxrss begins at its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (e for e in status.read_text().splitlines() if e.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def call_all_in_threads(invoke: Invoke, numbered: Iterator[Call], count: int) -> None:
    """Make calls from a pool of threads."""
    threads = import_module("benchmarks.callers.boto3_threads").THREADS

    def one(call: Call) -> None:
        check(call, invoke(call))

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(one, islice(numbered, count)):
            pass


async def call_all(invoke: InvokeLater, numbered: Iterator[Call], count: int, flight: int) -> None:
    """Make calls, so many in flight."""
    wanted = islice(numbered, count)

    async def lane() -> None:
        for call in wanted:  # shared: each lane takes the next
            check(call, await invoke(call))

    async with asyncio.TaskGroup() as group:
        for _ in range(flight):
            group.create_task(lane())


class Measurement:
    """From the reset of the stub's counts to reading them; what lies between is measured."""

    def __init__(self, stub: str) -> None:
        self._stub = stub
        ask(stub, "POST", "/_stub/reset")
        self._cpu = cpu_seconds()
        self._began = time.perf_counter()

    def result(self, count: int) -> dict[str, object]:
        """Return the figures of ``count`` calls."""
        seconds, cpu = time.perf_counter() - self._began, cpu_seconds() - self._cpu
        stub = ask(self._stub, "GET", "/_stub/stats")
        return {
            "calls": count,
            "seconds": seconds,
            "cpu": cpu,
            "peak_bytes": peak_bytes(),
            "stub": stub,
        }


async def measure(
    run: Callable[[int], Awaitable[None]], stub: str, seconds: float
) -> dict[str, object]:
    """Warm up, then measure as many calls as take about so many seconds."""
    count, took = 32, 0.0
    await run(count)  # connections, imports, caches
    while took < _WARM_UP_SECONDS:
        count *= 2
        began = time.perf_counter()
        await run(count)
        took = time.perf_counter() - began
    count = max(100, round(count * seconds / took))
    measurement = Measurement(stub)
    await run(count)
    return measurement.result(count)


async def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.callers", description=__doc__)
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("--stub", required=True, help="URL of the stub's counts")
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    contender = import_module(f"benchmarks.callers.{CONTENDERS[options.contender]}")
    payload, numbered = body(options.bytes), calls(f"c{os.getpid():07d}")

    if options.contender == "boto3-threads":
        with contender.open_client(payload) as invoke:

            async def run(count: int) -> None:
                # Nothing else is on this loop.
                call_all_in_threads(invoke, numbered, count)

            result = await measure(run, options.stub, options.seconds)
    else:
        async with contender.open_client(payload, options.in_flight) as invoke:

            async def run(count: int) -> None:
                await call_all(invoke, numbered, count, options.in_flight)

            result = await measure(run, options.stub, options.seconds)
    print(json.dumps(result))


if __name__ == "__main__":
    uvloop.run(main())
