"""Simulate many runs with crashes and faults, and check the laws on each.

    python -m tests.simulation --seeds 10000 --from 1
    python -m tests.simulation --from 4711 --history
    python -m tests.simulation --mutants

One seed is one schedule. A seed that breaks a law is printed with the end of its history, and does
the same again whenever it is simulated.
"""

import argparse
import gc
import logging
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator

from tests.simulation import mutants
from tests.simulation.scenario import MOMENTS, named_moments
from tests.simulation.simulate import Report, simulate, workplace

_CHUNK = 20
_TAIL = 60
_LINE = 300
_SHOWN = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--from", type=int, dest="first", help="the first one; default by chance")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--history", action="store_true", help="print all that happened")
    parser.add_argument("--mutants", action="store_true", help="break each law on purpose")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # what a run warns of is played on purpose
    if options.first is None:
        options.first = random.SystemRandom().randrange(10**9)
    if options.mutants:
        return _hunt(options.first, options.seeds)
    if options.history:
        with workplace():
            report = simulate(options.first)
        _print(report, len(report.history))
        return 1 if report.violations else 0
    return _simulate(range(options.first, options.first + options.seeds), options.jobs)


def _simulate(seeds: range, jobs: int) -> int:
    print(f"seeds {seeds.start} to {seeds.stop - 1}, {jobs} processes", flush=True)
    faults: Counter[str] = Counter()
    deaths: Counter[str] = Counter()
    failed: list[Report] = []
    began = shown = time.monotonic()
    for done, report in enumerate(_reports(seeds, jobs), 1):
        faults.update(report.faults)
        deaths.update(report.deaths)
        if report.violations:
            failed.append(report)
            if len(failed) <= _SHOWN:
                _print(report, _TAIL)
        if (now := time.monotonic()) - shown >= 10 or done == len(seeds):
            shown = now
            print(
                f"{done} seeds, {done / (now - began):.1f} a second, {len(failed)} failed, "
                f"{deaths.total()} ends, {faults.total()} faults",
                flush=True,
            )
    _table("ends of processes by moment", deaths)
    for name in sorted({*MOMENTS, *named_moments()} - deaths.keys()):
        print(f"no process died at {name}")
    _table("faults by kind", faults)
    for report in failed:
        print(f"seed {report.seed}: {report.violations[0]}")
    return 1 if failed else 0


def _reports(seeds: range, jobs: int) -> Iterator[Report]:
    chunks = [seeds[at : at + _CHUNK] for at in range(0, len(seeds), _CHUNK)]
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        for reports in pool.imap_unordered(_chunk, chunks):
            yield from reports


def _chunk(seeds: range) -> list[Report]:
    gc.disable()
    reports = []
    with workplace():
        for seed in seeds:
            report = simulate(seed)
            if not report.violations:
                report.history.clear()
            reports.append(report)
    gc.collect()
    return reports


def _hunt(first: int, seeds: int) -> int:
    missed = 0
    with workplace():
        for name in mutants.MUTANTS:
            caught = mutants.hunt(name, range(first, first + max(seeds, 300)))
            missed += caught is None
            if caught is None:
                print(f"{name}: not caught", flush=True)
            else:
                text = str(caught.violations[0])[:_LINE]
                print(f"{name}: seed {caught.seed}, {text}", flush=True)
    return 1 if missed else 0


def _print(report: Report, max_events: int) -> None:
    for event in report.history[-max_events:]:
        print(str(event)[:_LINE])
    for violation in report.violations:
        print(f"seed {report.seed}: {violation}")
    sys.stdout.flush()


def _table(title: str, counts: Counter[str]) -> None:
    print(f"{title}: {counts.total()}")
    for name, count in counts.most_common():
        print(f"  {count:8} {name}")


if __name__ == "__main__":
    sys.exit(main())
