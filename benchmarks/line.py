"""The whole way, from a file of records to a file of results, against programs people write today.

Every contender is a process of its own on the same stub and the same 1 kB records. What a record
costs is the CPU of the whole process (``wait4``) less that of a run with one record, for each
further record. See benchmarks/README.md.

    python -m benchmarks.line --repetitions 3 --plot
"""

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.programs import CONTENDERS, INLINE, SHORT_NAMES, STAGED, Job
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
from benchmarks.rig import (
    BUSY,
    Stub,
    ask,
    fsyncs_per_second,
    run,
    stub,
    surroundings,
    utilisation,
)
from dispatcher.samples.records import lines

_BYTES = 1_000


def write_records(folder: Path, count: int) -> Path:
    """Write so many records, the same each time; return the file."""
    path = folder / f"records-{count}.jsonl"
    if not path.exists():
        with path.open("wb") as file:
            file.writelines(line + b"\n" for line in lines(count, _BYTES, _BYTES, seed=1))
    return path


def check(name: str, job: Job, count: int, served: Mapping[str, Any], *, in_event: bool) -> None:
    """Hold what was written and what was served against the records.

    Raises:
        SystemExit: Not exactly one line a record, or other calls than those that were due.
    """
    times = bytearray(count + 1)
    with job.results.open("rb") as file:
        for line in file:
            result = json.loads(line)
            if "label" not in result["output"]:
                raise SystemExit(f"{name} wrote no output: {line!r}")
            times[int(result["key"].removeprefix("r"))] += 1
    if times.count(1) != count or times[0]:
        raise SystemExit(f"{name} did not write exactly one line for each of {count} records")
    contender = CONTENDERS[name]
    calls = served.get("accepted", 0)
    # How records fall into parcels is the packer's; nearly all of them must be full.
    most = count if contender.lines_a_call == 1 else 1.1 * count / contender.lines_a_call + 1
    due = {"lines": count}
    due |= {"received": calls, "deleted": calls} if contender.hears else {}
    due |= {"outputs_read": calls} if not (contender.hears and in_event) else {}
    got = {key: served.get(key, 0) for key in due}
    if got != due or calls > most:
        raise SystemExit(f"{name} was due {due} and {most} calls, but the stub served {served}")


def run_once(name: str, count: int, folder: Path, at: Stub, options: Any) -> dict[str, Any]:
    """Run a contender on so many records; return what it took."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="run-") as made:
        job = Job(Path(made), write_records(folder, count), at.queue)
        ask(at.http, "POST", "/_stub/reset")
        usage = run(CONTENDERS[name].command(job), at.environment())
        served = ask(at.http, "GET", "/_stub/stats")
        check(name, job, count, served, in_event=options.response_in_event)
    return {
        "records": count,
        "wall": usage.wall,
        "cpu": usage.cpu,
        "peak_bytes": usage.peak_bytes,
        "stub": served,
    }


def measure(name: str, count: int, folder: Path, at: Stub, options: Any) -> dict[str, Any]:
    """Run a contender on one record and on all of them; return the figures."""
    start = run_once(name, 1, folder, at, options)
    whole = run_once(name, count, folder, at, options)
    served = whole["stub"]
    return {
        "contender": name,
        **whole,
        "start": start,
        "cpu_us": (whole["cpu"] - start["cpu"]) / (count - 1) * 1e6,
        "records_per_second": count / whole["wall"],
        "stub_us": served["cpu"] / count * 1e6,
        "stub_utilisation": utilisation(served),
        "messages_a_receive": served.get("received", 0) / max(served.get("receives", 0), 1),
    }


def cost_grid(found: Mapping[str, list[dict[str, Any]]]) -> str:
    """Return the table of what a record costs."""
    headers = ["contender", "records", "CPU us/record", "times a", "times b", "records/s, wall"]
    rows = [
        [
            name,
            f"{runs[0]['records']:,}",
            str(Spread.of(run["cpu_us"] for run in runs)),
            ratio(found.get(INLINE), runs),
            ratio(found.get(STAGED), runs),
            str(Spread.of(run["records_per_second"] for run in runs)),
        ]
        for name, runs in found.items()
    ]
    return table(headers, rows)


def process_grid(found: Mapping[str, list[dict[str, Any]]]) -> str:
    """Return the table of whole processes, and of the stub that they talked to."""
    headers = ["contender", "CPU s", "of it start", "wall s", "peak MB", "with one record"]
    headers += ["stub us/record", "stub busy", "messages/receive"]
    rows = []
    for name, runs in found.items():
        rows.append(
            [
                name,
                str(Spread.of(run["cpu"] for run in runs)),
                str(Spread.of(run["start"]["cpu"] for run in runs)),
                str(Spread.of(run["wall"] for run in runs)),
                number(max(run["peak_bytes"] for run in runs) / 1e6),
                number(max(run["start"]["peak_bytes"] for run in runs) / 1e6),
                str(Spread.of(run["stub_us"] for run in runs)),
                busy(runs),
                number(min(run["messages_a_receive"] for run in runs)),
            ]
        )
    return table(headers, rows)


def command_line() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, repetitions=3)
    default = [name for name in SHORT_NAMES if name != "ours-aioboto3"]
    parser.add_argument("--contenders", nargs="+", choices=SHORT_NAMES, default=default)
    parser.add_argument("--records", type=int, default=40_000, help="for ours")
    parser.add_argument("--peer-records", type=int, default=4_000)
    parser.add_argument("--packed-records", type=int, default=200_000)
    parser.add_argument("--dir", type=Path, help="where ledger, records and results are written")
    parser.add_argument(
        "--response-in-event",
        action="store_true",
        help="answers also travel in the events, and need no read",
    )
    options = parse(parser)
    if min(options.records, options.peer_records, options.packed_records) < 2:
        parser.error("fewer than two records show nothing")
    return options


def measure_all(
    options: argparse.Namespace, folder: Path, at: Stub
) -> tuple[dict[str, list[dict[str, Any]]], list[float]]:
    """Run everything, contenders in turn; return the figures, and the disk's syncs per second."""
    portions = {
        "peer": options.peer_records,
        "ours": options.records,
        "packed": options.packed_records,
    }
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    syncs = []
    for repetition in range(options.repetitions):
        syncs.append(fsyncs_per_second(folder))
        for name in (SHORT_NAMES[short] for short in options.contenders):
            count = portions[CONTENDERS[name].portion]
            figures = measure(name, count, folder, at, options)
            found[name].append({"repetition": repetition, **figures})
            print(
                f"{name}: {figures['cpu_us']:,.1f} us of CPU a record, "
                f"{figures['records_per_second']:,.0f}/s, stub {figures['stub_utilisation']:.0%}",
                file=sys.stderr,
            )
    return found, syncs


def report(
    found: Mapping[str, list[dict[str, Any]]],
    syncs: list[float],
    facts: Mapping[str, str],
    *,
    in_event: bool,
) -> Report:
    """Return the results and their description, to be written."""
    repetitions = max(len(runs) for runs in found.values())
    bars = Bars(
        "records of 1 kB",
        {name: Spread.of(run["cpu_us"] for run in runs) for name, runs in found.items()},
    )
    more = {
        "repetitions": f"{repetitions}, contenders in turn; figures are median (least-most)",
        "records": f"{_BYTES:,} B each, one JSON value a line",
        "outputs": "in the event where it carries one" if in_event else "read from S3, every one",
        "ledger of ours": "full durability, on a disk that syncs an append of 4 kB "
        f"{Spread.of(syncs)} times a second",
    }
    return Report(
        name="line-in-event" if in_event else "line",
        title="The whole way, CPU of the client per record",
        facts={**facts, **more},
        tables=[
            ("A record", cost_grid(found)),
            ("The process, and the stub", process_grid(found)),
        ],
        note="`times a` is records per client CPU second against (a) in the same repetition. "
        "Records/s are of the whole process, start included. `stub busy` is the share of the time "
        "from the first request to the last that the server worked, in the busiest run; above "
        f"{BUSY:.0%} it is marked with `!`, and the wall may then be the stub's.",
        data={"fsyncs_per_second": syncs, "runs": [run for runs in found.values() for run in runs]},
        draw=partial(draw_bars, groups=[bars], unit="us of client CPU per record"),
    )


def main() -> None:
    options = command_line()
    facts = surroundings()
    mode = ["--response-in-event"] if options.response_in_event else []
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="bench-") as made, stub(*mode) as at:
        found, syncs = measure_all(options, Path(made).resolve(), at)
    made_of = report(found, syncs, facts, in_event=options.response_in_event)
    print(made_of.text())
    made_of.write(options.out, with_plot=options.plot)


if __name__ == "__main__":
    main()
