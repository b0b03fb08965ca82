"""The ledger alone, against the disk that it writes to; and its share of the whole way.

The first part plans, accepts and settles invocations of one record of 1 kB through the real ledger,
in groups, as fast as it goes; before and after each the disk says how often a second it can sync an
append of 4 kB. The second runs the whole way of ``benchmarks.line`` with an account of the CPU
that the ledger takes in it. See benchmarks/README.md.

    python -m benchmarks.ledger --repetitions 3 --plot
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from benchmarks.line import check, measure, write_records
from benchmarks.programs import Job, Ours
from benchmarks.report import Bars, Report, Spread, add_options, draw_bars, number, parse, table
from benchmarks.rig import Stub, ask, fsyncs_per_second, run, stub, surroundings
from dispatcher.config.packing import PackingSettings
from dispatcher.ledger.invocation import Planned
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.open import open_ledger
from dispatcher.ledger.operations import Operation, SinkMark
from dispatcher.ledger.outcome import Outcome, Settlement
from dispatcher.ledger.store.sqlite import SqliteStore
from dispatcher.packing.codec import Codec
from dispatcher.packing.parcel import Parcel
from dispatcher.records.record import Position, Record

Durability: TypeAlias = Literal["full", "relaxed"]
Figures: TypeAlias = dict[str, Any]

_GROUPS = (1, 10, 50, 500)
_BYTES = 1_000
_OUTSTANDING = 2_000
_WARM_UP_SECONDS = 0.2
_SHARE = 0.25
"""The share that the ledger may take of the whole way's CPU for a record that is not packed."""

_WHOLE = {"ours": 1, "ours, 100 packed": 100}
_OUTPUT = b'{"label":"satisfied","score":0.97}'


class Counted:
    """Counts the transactions of all ledgers for as long as it is entered."""

    def __init__(self) -> None:
        self.commits = 0

    def __enter__(self) -> Self:
        apply = self._apply = SqliteStore.apply

        def counting(store: SqliteStore, operations: Sequence[Operation]) -> None:
            self.commits += 1
            apply(store, operations)

        SqliteStore.apply = counting  # type: ignore[method-assign, assignment]  # counted
        return self

    def __exit__(self, *_: object) -> None:
        SqliteStore.apply = self._apply  # type: ignore[method-assign]  # as it was


@dataclass(slots=True)
class Bench:
    """One measurement: a task that plans, and one that accepts and settles what is planned.

    Attributes:
        settled: Invocations so far.
    """

    ledger: Ledger
    paper: Counted
    group: int
    settled: int = 0
    _position: int = 0
    _written: int = 0

    async def run(self, seconds: float) -> dict[str, float]:
        """Return the figures of so many seconds after a warm-up."""
        send, receive = anyio.create_memory_object_stream[Sequence[Planned]](4)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._plan, send)
            tasks.start_soon(self._settle, receive)
            await anyio.sleep(_WARM_UP_SECONDS)
            settled, commits = self.settled, self.paper.commits
            began, cpu = time.perf_counter(), time.process_time()
            await anyio.sleep(seconds)
            wall, cpu = time.perf_counter() - began, time.process_time() - cpu
            settled, commits = self.settled - settled, self.paper.commits - commits
            tasks.cancel_scope.cancel()
        return {
            "invocations_per_second": settled / wall,
            "commits_per_second": commits / wall,
            "invocations_a_commit": settled / max(commits, 1),
            "cpu_us": cpu / max(settled, 1) * 1e6,
        }

    def _parcels(self) -> Iterator[Parcel]:
        for _ in range(self.group):
            start, self._position = self._position, self._position + _BYTES
            line = self._position // _BYTES
            key = f"r{line:09d}"
            raw = b'{"id":"%b","text":"%b"}' % (key.encode(), b"x" * (_BYTES - 31))
            record = Record(Position("records.jsonl", start, self._position, line), key, raw)
            yield Parcel([record], raw, "application/json", "inline")

    async def _plan(self, send: MemoryObjectSendStream[Sequence[Planned]]) -> None:
        async with send:
            while True:
                parcels = list(self._parcels())
                while parcels:
                    room = await self.ledger.wait_for_room(len(parcels))
                    now, parcels = parcels[:room], parcels[room:]
                    await send.send(await self.ledger.plan(now))

    async def _settle(self, receive: MemoryObjectReceiveStream[Sequence[Planned]]) -> None:
        async with receive:
            async for planned in receive:
                settlements = [self._completed(invocation) for invocation in planned]
                self._written += len(planned) * 70
                mark = SinkMark(self._written, self._written & 0xFFFFFFFF, 4_096)
                await self.ledger.settle(settlements, {"results.jsonl": mark})
                self.settled += len(planned)

    def _completed(self, planned: Planned) -> Settlement:
        ledger = self.ledger
        at = f"s3://stub-output/churn/{planned.shard}/{planned.id}"
        ledger.accept(planned, time.time(), f"{at}.out", f"{at}-error.out")
        _, entry = ledger.find_id(planned.id)
        assert entry is not None
        assert ledger.claim(entry)
        record_ref = entry.record_refs[0]
        outcome = Outcome(
            record_ref.position, record_ref.key, "completed", _OUTPUT, "application/json"
        )
        return Settlement(entry, [outcome])


async def alone(folder: Path, durability: Durability, group: int, seconds: float) -> Figures:
    """Run a new ledger in groups of one size; return what it did."""
    with Counted() as paper:
        async with open_ledger(
            folder / "ledger.db",
            codec=Codec(PackingSettings(), content_type=None),
            durability=durability,
            outstanding=_OUTSTANDING,
        ) as ledger:
            return dict(await Bench(ledger, paper, group).run(seconds))


def measure_alone(folder: Path, options: argparse.Namespace, repetition: int) -> list[Figures]:
    """Measure all durabilities and groups in turn, each between two of the disk's own rate."""
    found = []
    for durability in options.durabilities:
        for group in options.groups:
            with tempfile.TemporaryDirectory(dir=folder, prefix="ledger-") as made:
                ask_disk = partial(fsyncs_per_second, Path(made), min(options.seconds, 1.0))
                syncs = [ask_disk()]
                figures = anyio.run(
                    alone,
                    Path(made),
                    durability,
                    group,
                    options.seconds,
                    backend_options={"use_uvloop": True},
                )
                syncs.append(ask_disk())
            name, rate = f"{durability}, groups of {group}", statistics.mean(syncs)
            print(
                f"{name}: {figures['invocations_per_second']:,.0f}/s, "
                f"{figures['cpu_us']:.1f} us of CPU, disk {rate:,.0f} syncs/s",
                file=sys.stderr,
            )
            what = {"contender": name, "durability": durability, "group": group}
            found.append({"repetition": repetition, **what, **figures, "fsyncs_per_second": rate})
    return found


def measure_share(
    name: str, count: int, folder: Path, at: Stub, options: argparse.Namespace
) -> Figures:
    """Run the whole way as it is, and once more with the account; return both."""
    plain = measure(name, count, folder, at, options)
    with tempfile.TemporaryDirectory(dir=folder, prefix="run-") as made:
        job = Job(Path(made), write_records(folder, count), at.queue)
        account = job.folder / "account.json"
        command = Ours(lines_a_call=_WHOLE[name]).command(job)
        at_module = command.index("dispatcher")
        command[at_module : at_module + 1] = ["benchmarks.accounted", str(account)]
        ask(at.http, "POST", "/_stub/reset")
        usage = run(command, at.environment())
        check(name, job, count, ask(at.http, "GET", "/_stub/stats"), in_event=False)
        booked: dict[str, dict[str, float]] = json.loads(account.read_text())
    doors = {door: seconds / count * 1e6 for door, seconds in booked["seconds"].items()}
    held = booked["held"]
    return {
        "contender": name,
        "records": count,
        "whole_us": plain["cpu_us"],
        "accounted_whole_us": (usage.cpu - plain["start"]["cpu"]) / count * 1e6,
        "ledger_us": sum(doors.values()),
        "share": sum(doors.values()) / plain["cpu_us"],
        "doors_us": doors,
        "passed": booked["passed"],
        "invocations_a_plan": held["planned"] / held["plans"],
        "invocations_a_settle": held["settled"] / held["settles"],
        "invocations_a_commit": held["settled"] / booked["passed"]["SqliteStore.apply"],
    }


def alone_grid(found: Mapping[str, list[Figures]]) -> str:
    """Return the table of the ledger by itself."""
    headers = ["ledger alone", "invocations/s", "commits/s", "disk syncs/s", "commits a sync"]
    headers += ["invocations a commit", "CPU us/invocation"]
    rows = [
        [
            name,
            spread(runs, "invocations_per_second"),
            spread(runs, "commits_per_second"),
            spread(runs, "fsyncs_per_second"),
            str(Spread.of(r["commits_per_second"] / r["fsyncs_per_second"] for r in runs)),
            spread(runs, "invocations_a_commit"),
            spread(runs, "cpu_us"),
        ]
        for name, runs in found.items()
    ]
    return table(headers, rows)


def share_grid(found: Mapping[str, list[Figures]]) -> str:
    """Return the table of the ledger's share of the whole way."""
    headers = ["the whole way", "records", "CPU us/record", "ledger us/record", "share, %"]
    headers += ["with account us/record", "invocations a plan", "a settle", "a commit"]
    rows = [
        [
            name,
            f"{runs[0]['records']:,}",
            spread(runs, "whole_us"),
            spread(runs, "ledger_us"),
            str(Spread.of(100 * run["share"] for run in runs)),
            spread(runs, "accounted_whole_us"),
            *(spread(runs, f"invocations_a_{what}") for what in ("plan", "settle", "commit")),
        ]
        for name, runs in found.items()
    ]
    return table(headers, rows)


def door_grid(found: Mapping[str, list[Figures]]) -> str:
    """Return the table of where the ledger's share goes."""
    doors = sorted({door for runs in found.values() for run in runs for door in run["doors_us"]})
    rows = []
    for door in doors:
        row = [door]
        for runs in found.values():
            row.append(str(Spread.of(run["doors_us"].get(door, 0.0) for run in runs)))
            row.append(f"{runs[0]['passed'].get(door, 0):,}")
        rows.append(row)
    headers = [head for name in found for head in (f"{name}, us/record", "passed")]
    return table(["door", *headers], rows)


def spread(runs: Sequence[Figures], name: str) -> str:
    """Return a figure of repeated runs with its spread."""
    return str(Spread.of(run[name] for run in runs))


def verdict(found: Mapping[str, list[Figures]], alone_: Mapping[str, list[Figures]]) -> str:
    """Return in words what was to be reached, and the check by the other method."""
    if not (runs := found.get("ours")):
        return ""
    share = Spread.of(run["share"] for run in runs)
    met = "met" if share.median <= _SHARE else "NOT met"
    text = (
        f"Of an unpacked record the ledger takes {share.median:.0%} ({share.least:.0%}-"
        f"{share.most:.0%}) of the whole way's CPU; at most {_SHARE:.0%} is the target: {met}."
    )
    group = Spread.of(run["invocations_a_plan"] for run in runs).median
    full = [name for name, figures in alone_.items() if figures[0]["durability"] == "full"]
    if full:
        near = min(full, key=lambda name: abs(alone_[name][0]["group"] - group))
        us = Spread.of(run["cpu_us"] for run in alone_[near]).median
        whole = Spread.of(run["whole_us"] for run in runs).median
        text += (
            f" The other way round: alone, {near}, an invocation takes {number(us)} us of the "
            "whole process, hops between threads and making the parcels included, which would be "
            f"{us / whole:.0%}."
        )
    return text


def command_line() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, repetitions=3)
    both = ["full", "relaxed"]
    parser.add_argument("--groups", nargs="+", type=int, default=list(_GROUPS))
    parser.add_argument("--durabilities", nargs="+", choices=both, default=both)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a measurement")
    parser.add_argument("--records", type=int, default=40_000, help="of the whole way")
    parser.add_argument("--packed-records", type=int, default=200_000, help="the same, packed")
    parser.add_argument("--dir", type=Path, help="where ledger, records and results are written")
    options = parse(parser)
    if min(options.records, options.packed_records) < 2:
        parser.error("fewer than two records show nothing")
    options.response_in_event = False
    return options


def report(
    alone_: Mapping[str, list[Figures]],
    whole: Mapping[str, list[Figures]],
    facts: Mapping[str, str],
) -> Report:
    """Return the results and their description, to be written."""
    runs = [run for figures in alone_.values() for run in figures]
    bars = [
        Bars(
            durability,
            {
                name.partition(", ")[2]: Spread.of(r["invocations_per_second"] for r in figures)
                for name, figures in alone_.items()
                if figures[0]["durability"] == durability
            },
        )
        for durability in dict.fromkeys(run["durability"] for run in runs)
    ]
    return Report(
        name="ledger",
        title="The ledger alone, and its share of the whole way",
        facts={**facts, "records": f"{_BYTES:,} B each"},
        tables=[
            ("Planned, accepted and settled", alone_grid(alone_)),
            ("Its share", share_grid(whole)),
            ("Where it goes", door_grid(whole)),
        ],
        note=verdict(whole, alone_),
        data={"alone": runs, "whole": [run for figures in whole.values() for run in figures]},
        draw=partial(
            draw_bars,
            groups=bars,
            unit="invocations planned, accepted and settled a second",
            better="more",
        ),
    )


def main() -> None:
    options = command_line()
    facts = surroundings()
    facts["repetitions"] = f"{options.repetitions}, in turn; figures are median (least-most)"
    found: dict[str, list[Figures]] = defaultdict(list)
    whole: dict[str, list[Figures]] = defaultdict(list)
    counts = {"ours": options.records, "ours, 100 packed": options.packed_records}
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="bench-") as made, stub() as at:
        folder = Path(made).resolve()
        for repetition in range(options.repetitions):
            for figures in measure_alone(folder, options, repetition):
                found[figures["contender"]].append(figures)
            for name, count in counts.items():
                figures = measure_share(name, count, folder, at, options)
                whole[name].append({"repetition": repetition, **figures})
                print(f"{name}: the ledger takes {figures['share']:.0%}", file=sys.stderr)
    made_of = report(found, whole, facts)
    print(made_of.text())
    made_of.write(options.out, with_plot=options.plot)


if __name__ == "__main__":
    main()
