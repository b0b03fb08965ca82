"""A backlog of millions of records, some of them stuck, through a kill -9: is everything bounded?

``dispatcher run`` on a generated file, against a stub that holds some invocations until the rest is
settled. Memory, ledger and spool are sampled over the run; half way it is killed and started again.
See benchmarks/README.md.

    python -m benchmarks.backlog --records 10000000 --plot
"""

import argparse
import json
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from benchmarks.curves import Curves, Panel
from benchmarks.peers.task import ENDPOINT
from benchmarks.report import Report, add_options, number, parse, table
from benchmarks.rig import Stub, ask, fsyncs_per_second, stub, surroundings
from benchmarks.watched import Run
from dispatcher.ledger import ids

_LEDGER_BYTES = 200_000_000
_RESUME_SECONDS = 10.0
_FLAT = 1.1
"""Memory is flat that grows by no more than this factor while the middle of a run is settled."""

_TEXTS = 1009
"""Texts that the records share; a prime, so that they do not keep step with the payloads."""

_PREFIX = b'{"key":"r'
_DIGITS = 9
_STATUS = b'","status":"completed","output":'


def write_backlog(path: Path, count: int) -> None:
    """Write records of 110 to 210 bytes, nearly as fast as the disk takes them."""
    texts = [b"x" * (80 + number % 101) for number in range(_TEXTS)]
    with path.open("wb") as file:
        for start in range(0, count, 10_000):
            numbers = range(start, min(count, start + 10_000))
            line = b'{"id":"r%0*d","text":"%b"}\n'
            file.writelines(line % (_DIGITS, n, texts[n % _TEXTS]) for n in numbers)


def count_results(path: Path, count: int) -> None:
    """Hold the results file against the records.

    Raises:
        SystemExit: Not exactly one line a record.
    """
    times = bytearray(count)
    end = len(_PREFIX) + _DIGITS
    with path.open("rb") as file:
        for line in file:
            if not (line.startswith(_PREFIX) and line.startswith(_STATUS, end)):
                raise SystemExit(f"not a completed result: {line!r}")
            times[int(line[len(_PREFIX) : end])] += 1
    if times.count(1) != count:
        wrong = next(n for n, lines in enumerate(times) if lines != 1)
        raise SystemExit(f"record {wrong} has {times[wrong]} lines; exactly one is due")


def configuration(folder: Path, at: Stub, options: argparse.Namespace) -> dict[str, object]:
    """Return what is run."""
    return {
        "endpoint": ENDPOINT,
        "source": {"path": str(folder / "backlog.jsonl"), "key": "id"},
        "packing": {"framing": "lines", "max_records": options.packed},
        "limits": {"outstanding": options.hold + options.room},
        "completion": {"queue_url": at.queue},
        "ledger": {"path": str(folder / "ledger.db"), "durability": "full"},
        "sink": {"path": str(folder / "results.jsonl")},
        "dead_letters": {"path": str(folder / "dead.jsonl")},
    }


def picture(run: Run) -> dict[str, Any]:
    """Return what the ledger holds after the kill, from a copy: opening the file would mend it."""
    with tempfile.TemporaryDirectory(dir=run.folder) as made:
        for name in ("ledger.db", "ledger.db-wal"):
            with suppress(FileNotFoundError):
                shutil.copy(run.folder / name, made)
        with closing(sqlite3.connect(Path(made) / "ledger.db")) as db:
            tag = db.execute("SELECT value FROM fact WHERE name = 'tag'").fetchone()[0]
            last = db.execute("SELECT seq FROM sqlite_sequence").fetchone()[0]
            rows, planned, size = db.execute(
                "SELECT count(*), sum(state = 0), sum(length(manifest)) FROM invocation"
            ).fetchone()
            ranges = db.execute("SELECT count(*) FROM settled_range").fetchone()[0]
            marks = db.execute("SELECT sum(mark) FROM stream").fetchone()[0]
    return {
        "last": ids.invocation_id(tag, last),
        "invocations": rows,
        "planned": planned,
        "manifest_bytes": size,
        "ranges": ranges,
        "mark": marks,
    }


def measure(folder: Path, at: Stub, options: argparse.Namespace) -> dict[str, Any]:
    """Run it, kill it half way, run it to its end; return what was seen."""
    run = Run(folder, at, options.limit)
    (folder / "run.yaml").write_text(json.dumps(configuration(folder, at, options), indent=1))
    with (folder / "said.txt").open("w+b") as said:
        try:
            events = _run_and_kill(run, said, options)
        except SystemExit as failure:
            said.seek(0)
            raise SystemExit(f"{failure}\n{said.read().decode(errors='replace')[-2000:]}") from None
    began = time.perf_counter()
    count_results(folder / "results.jsonl", options.records)
    print(f"counted {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return {**events, "samples": [asdict(sample) for sample in run.samples]}


def _run_and_kill(run: Run, said: IO[bytes], options: argparse.Namespace) -> dict[str, Any]:
    with run.process(said) as process:
        run.watch(process, options.every, int(options.records * options.kill_at))
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed = run.seconds()
    at_kill = picture(run)
    ask(run.at.http, "POST", "/_stub/redeliver")
    ask(run.at.http, "POST", f"/_stub/watch/{at_kill['last']}")
    before = ask(run.at.http, "GET", "/_stub/stats")
    restarted = run.seconds()
    with run.process(said) as process:
        held = before["held_lines"]
        run.watch(process, options.every, options.records - held)
        at_release = run.sample(process)
        ask(run.at.http, "POST", "/_stub/release")
        released = run.seconds()
        while process.poll() is None:
            run.sample(process)
            if run.seconds() > run.limit:
                raise SystemExit("what was held was not settled in time")
            time.sleep(options.every)
        if process.returncode:
            raise SystemExit(f"the run ended with {process.returncode}")
    after = ask(run.at.http, "GET", "/_stub/stats")
    first_call, first_new = (
        None if after[name] is None else after[name] - run.began - restarted
        for name in ("first_call", "first_new")
    )
    return {
        "killed": killed,
        "restarted": restarted,
        "released": released,
        "ended": run.seconds(),
        "first_call": first_call,
        "first_new_call": first_new,
        "at_kill": at_kill,
        "held": at_release.held,
        "held_records": held,
        "stub": after,
    }


def flatness(samples: Sequence[Mapping[str, Any]], records: int, end: float) -> tuple[float, float]:
    """Return the memory of the restarted process early and late in its steady part.

    Early is the median of the first third, late that of the last third, of the samples from a tenth
    of the records after its start to the release of what is held.
    """
    own = [s for s in samples if s["process"] == 1 and s["rss"] and s["seconds"] <= end]
    first = min((s["settled"] for s in own if s["settled"] is not None), default=0)
    steady = [s["rss"] for s in own if (s["settled"] or 0) >= first + records / 10]
    third = max(1, len(steady) // 3)
    if not steady:
        return 0.0, 0.0
    early, late = sorted(steady[:third]), sorted(steady[-third:])
    return float(early[third // 2]), float(late[third // 2])


def targets(found: Mapping[str, Any], options: argparse.Namespace) -> list[list[str]]:
    """Return the rows of what was to be reached."""
    samples = found["samples"]
    ledger = max(s["ledger"] for s in samples)
    early, late = flatness(samples, options.records, found["released"])
    flat = late / early if early else 1.0
    first = found["first_new_call"]

    def row(what: str, target: str, measured: str, *, met: bool) -> list[str]:
        return [what, target, measured, "yes" if met else "NO"]

    return [
        row(
            f"ledger with {found['held']:,} held, most",
            f"< {_LEDGER_BYTES / 1e6:.0f} MB",
            f"{ledger / 1e6:.1f} MB",
            met=ledger < _LEDGER_BYTES,
        ),
        row(
            "memory, late in the steady part / early",
            f"< {_FLAT:.2f}",
            f"{flat:.2f} ({early / 1e6:.0f} to {late / 1e6:.0f} MB)",
            met=flat < _FLAT,
        ),
        row(
            "restart to the first call of a new invocation",
            f"< {_RESUME_SECONDS:.0f} s",
            "never" if first is None else f"{first:.2f} s",
            met=first is not None and first < _RESUME_SECONDS,
        ),
    ]


def course(samples: Sequence[Mapping[str, Any]], records: int) -> str:
    """Return the table of the run at each tenth of its records."""
    rows = []
    for tenth in range(1, 11):
        reached = [s for s in samples if (s["settled"] or 0) >= records * tenth / 10]
        if reached and (at := reached[0])["rss"] is not None:
            rows.append(
                [
                    f"{tenth / 10:.0%}",
                    number(at["seconds"]),
                    number(at["rss"] / 1e6),
                    number(at["ledger"] / 1e6),
                    number(at["wal"] / 1e6),
                    number(at["spool"] / 1e6),
                    f"{at['ranges'] or 0:,}",
                    f"{at['held']:,}",
                ]
            )
    headers = ["settled", "s", "RSS MB", "ledger MB", "of it wal", "spool MB", "ranges", "held"]
    return table(headers, rows)


def restart(found: Mapping[str, Any], options: argparse.Namespace) -> str:
    """Return the table of the kill and the restart."""
    at_kill = found["at_kill"]

    def seconds(value: float | None) -> str:
        return "never" if value is None else f"{value:.2f} s"

    return table(
        ["the kill, and the restart", "figure"],
        [
            ["settled when it was killed", f"{options.kill_at:.0%}"],
            ["outstanding invocations then", f"{at_kill['invocations']:,}"],
            ["of them not known to be accepted", f"{at_kill['planned']:,}"],
            ["settled ranges above the mark", f"{at_kill['ranges']:,}"],
            ["mark, bytes into the source", f"{at_kill['mark']:,}"],
            ["restart to the first call", seconds(found["first_call"])],
            ["restart to the first call of a new invocation", seconds(found["first_new_call"])],
        ],
    )


def curves(found: Mapping[str, Any]) -> Curves:
    """Return what is drawn."""
    samples = found["samples"]

    def megabytes(name: str) -> list[float | None]:
        return [None if s[name] is None else s[name] / 1e6 for s in samples]

    settled = [None if s["settled"] is None else s["settled"] / 1e6 for s in samples]
    return Curves(
        [s["seconds"] for s in samples],
        [
            Panel("MB", {"memory of the dispatcher (RSS)": megabytes("rss")}),
            Panel(
                "MB",
                {"ledger (file and log)": megabytes("ledger"), "of it the log": megabytes("wal")},
                _LEDGER_BYTES / 1e6,
            ),
            Panel("MB", {"spool": megabytes("spool")}),
            Panel("million records", {"settled": settled}),
        ],
        {"kill -9": found["killed"], "release": found["released"]},
    )


def report(
    found: Mapping[str, Any], facts: Mapping[str, str], options: argparse.Namespace
) -> Report:
    """Return the results and their description, to be written."""
    samples = found["samples"]
    more = {
        "records": f"{options.records:,} of 110 to 210 B, {options.packed} to a payload",
        "held": f"{found['held']:,} invocations ({found['held_records']:,} records), one of "
        f"{options.hold_every} that are accepted until there are so many",
        "wall": f"{found['ended']:.0f} s, {options.records / found['ended']:,.0f} records/s",
        "results": "exactly one line for each record, checked",
    }
    return Report(
        name="backlog",
        title=f"A backlog of {options.records:,} records",
        facts={**facts, **more},
        tables=[
            (
                "What was to be reached",
                table(["what", "target", "measured", "met"], targets(found, options)),
            ),
            ("The run", course(samples, options.records)),
            ("The restart", restart(found, options)),
        ],
        note=f"Most: RSS {max(s['rss'] or 0 for s in samples) / 1e6:,.0f} MB, "
        f"ledger {max(s['ledger'] for s in samples) / 1e6:,.1f} MB, "
        f"spool {max(s['spool'] for s in samples) / 1e6:,.0f} MB. Memory is flat when the median "
        "of the last third of the steady part is less than "
        f"{_FLAT - 1:.0%} above that of the first third; the steady part is of the restarted "
        "process, from a tenth of the records after its start until what is held is released.",
        data=dict(found),
        draw=curves(found).draw,
    )


def command_line() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--packed", type=int, default=100, help="records of an invocation")
    parser.add_argument("--hold", type=int, default=10_000, help="invocations that are stuck")
    parser.add_argument("--hold-every", type=int, default=3, help="accepted, one of them stuck")
    parser.add_argument("--room", type=int, default=2_000, help="outstanding beside the stuck")
    parser.add_argument("--kill-at", type=float, default=0.5, help="share settled at the kill")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two samples")
    parser.add_argument("--limit", type=float, default=3_000.0, help="seconds; longer is a failure")
    parser.add_argument("--dir", type=Path, help="where backlog, ledger and results are written")
    options = parse(parser)
    if not 0 < options.hold * options.packed < options.records * (1 - options.kill_at):
        parser.error("more is held than is left to settle after the kill")
    return options


def main() -> None:
    options = command_line()
    facts = surroundings()
    hold = ["--hold", str(options.hold), "--hold-every", str(options.hold_every)]
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="backlog-") as made, stub(*hold) as at:
        folder = Path(made).resolve()
        facts["disk"] = f"{fsyncs_per_second(folder):,.0f} appends of 4 kB synced a second"
        began = time.perf_counter()
        write_backlog(folder / "backlog.jsonl", options.records)
        size = (folder / "backlog.jsonl").stat().st_size
        print(f"{size / 1e6:,.0f} MB in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        found = measure(folder, at, options)
    made_of = report(found, facts, options)
    print(made_of.text())
    made_of.write(options.out, with_plot=options.plot)


if __name__ == "__main__":
    main()
