"""InvokeEndpointAsync alone: what a call costs the client, against other ways to make it.

A client a process, the stub in another; contenders take turns, so that a machine that drifts drifts
for all. CPU is the client's, over the measured calls only; the ratio is to aioboto3 in the same
repetition. See benchmarks/README.md.

    python -m benchmarks.calls --plot
"""

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from benchmarks.callers.contenders import CONTENDERS
from benchmarks.emulator import invoke
from benchmarks.report import (
    Bars,
    Report,
    Spread,
    add_options,
    busy,
    draw_bars,
    number,
    parse,
    ratio,
    table,
)
from benchmarks.rig import BUSY, ROOT, Stub, ask, stub, surroundings, utilisation

_BASE = "aioboto3"
_CEILING_CALLS = 10_000

Scenario = tuple[int, bool]
Found = dict[Scenario, dict[str, list[dict[str, Any]]]]


def measure(name: str, scenario: Scenario, options: argparse.Namespace, at: Stub) -> dict[str, Any]:
    """Run one contender in a process of its own; return its figures."""
    size, tls = scenario
    command = [sys.executable, "-m", "benchmarks.callers", name, "--stub", at.http]
    command += ["--bytes", str(size), "--in-flight", str(options.in_flight)]
    command += ["--seconds", str(options.seconds)]
    done = subprocess.run(
        command,
        env=at.environment(tls=tls),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout)
    served, calls = figures["stub"], figures["calls"]
    if (served.get("accepted"), served.get("bytes")) != (calls, calls * size):
        raise SystemExit(f"{name} made {calls} calls of {size} B, but the stub served {served}")
    return {
        "contender": name,
        "bytes": size,
        "tls": tls,
        **figures,
        "calls_per_second": calls / figures["seconds"],
        "cpu_us": figures["cpu"] / calls * 1e6,
        "stub_us": served["cpu"] / calls * 1e6,
        "stub_utilisation": utilisation(served),
    }


def measure_all(options: argparse.Namespace, at: Stub) -> Found:
    """Run everything; contenders take turns within a repetition."""
    found: Found = {}
    for size in options.bytes:
        for transport in options.transports:
            scenario = (size, transport == "tls")
            by_name = found[scenario] = defaultdict(list)
            for repetition in range(options.repetitions):
                for name in options.contenders:
                    run = measure(name, scenario, options, at)
                    by_name[name].append({"repetition": repetition, **run})
                    print(
                        f"{label(scenario)}, {name}: {run['cpu_us']:,.1f} us of CPU a call, "
                        f"{run['calls_per_second']:,.0f}/s, stub {run['stub_utilisation']:.0%}",
                        file=sys.stderr,
                    )
    return found


def ceiling(at: Stub, size: int, in_flight: int) -> float:
    """Return the calls that the stub can answer in a second of its CPU.

    The client is a bare socket loop that parses nothing and signs nothing.
    """
    port = urlsplit(at.http).port
    assert port is not None
    ask(at.http, "POST", "/_stub/reset")
    invoke(port, _CEILING_CALLS, in_flight, size)
    return _CEILING_CALLS / float(ask(at.http, "GET", "/_stub/stats")["cpu"])


def label(scenario: Scenario) -> str:
    """Return the heading of a scenario."""
    size, tls = scenario
    return f"{size / 1000:g} kB, {'TLS' if tls else 'plain'}"


def grid(by_name: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table of a scenario."""
    headers = ["contender", "CPU us/call", "times aioboto3", "calls/s", "peak MB", "stub us/call"]
    rows = [
        [
            name,
            str(Spread.of(run["cpu_us"] for run in runs)),
            ratio(by_name.get(_BASE), runs),
            str(Spread.of(run["calls_per_second"] for run in runs)),
            number(max(run["peak_bytes"] for run in runs) / 1e6),
            str(Spread.of(run["stub_us"] for run in runs)),
            busy(runs),
        ]
        for name, runs in by_name.items()
    ]
    return table([*headers, "stub busy"], rows)


def bars(found: Found) -> list[Bars]:
    """Return what is drawn."""
    return [
        Bars(
            label(scenario),
            {name: Spread.of(run["cpu_us"] for run in runs) for name, runs in by_name.items()},
        )
        for scenario, by_name in found.items()
    ]


def report(found: Found, facts: dict[str, str]) -> Report:
    """Return the results and their description, to be written."""
    return Report(
        name="calls",
        title="InvokeEndpointAsync, CPU of the client per call",
        facts=facts,
        tables=[(label(scenario), grid(by_name)) for scenario, by_name in found.items()],
        note="`times aioboto3` is of the same repetition. `stub us/call` is the server's own CPU, "
        "`stub busy` the share of the time from the first request to the last that it worked, in "
        f"the busiest run; above {BUSY:.0%} it is marked with `!`, and calls/s may then be the "
        "stub's, not the client's.",
        data={"runs": [run for by in found.values() for runs in by.values() for run in runs]},
        draw=partial(draw_bars, groups=bars(found), unit="us of CPU per call"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    both = ["plain", "tls"]
    add_options(parser, repetitions=5)
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--bytes", nargs="+", type=int, default=[1_000, 16_000, 120_000])
    parser.add_argument("--transports", nargs="+", choices=both, default=both)
    parser.add_argument("--in-flight", type=int, default=32, help="boto3 has 16 threads instead")
    parser.add_argument("--seconds", type=float, default=2.5, help="of a measurement, about")
    options = parse(parser)
    facts = surroundings()
    with stub() as at:
        ceilings = [
            f"{ceiling(at, size, options.in_flight):,.0f} at {size / 1000:g} kB"
            for size in options.bytes
        ]
        found = measure_all(options, at)
    facts |= {
        "repetitions": f"{options.repetitions}, contenders in turn; figures are "
        "median (least-most)",
        "a measurement": f"about {options.seconds:g} s of calls, {options.in_flight} in flight "
        "(boto3: 16 threads), after a warm-up",
        "the stub alone": f"{', '.join(ceilings)} plain calls per second of its CPU, asked by bare "
        "sockets",
    }
    made = report(found, facts)
    print(made.text())
    made.write(options.out, with_plot=options.plot)


if __name__ == "__main__":
    main()
