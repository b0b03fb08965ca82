"""Kill runs again and again with SIGKILL, let them finish, and check every line of their results.

    python -m tests.faults.crash --runs 200 --faults

Each run has a fresh folder, a fresh emulator and a seed, which decides records, configuration,
faults and when each process dies: at random moments, at named ones (``dispatcher.failpoints``),
while it starts, and while it drains after SIGTERM; some are only stopped by SIGTERM. When a process
has ended, ``dispatcher ledger check`` and ``dispatcher status`` must agree with the results; the
last one must finish with exit code 0, without dead letters: every fault is one that further
attempts get over, and the policy allows enough of them.

The emulator knows which invocations were accepted more than once. Only those may be that were
really ambiguous (``KilledRun._count``), and the run must have counted them as repeated.

Processes race, so a seed repeats what is thrown at a run, not each result of it.
"""

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

from tests.faults.killed_run import Report, run_scenario
from tests.faults.real import (
    LOOK_SECONDS,
    SWEEP_SOON,
    check,
    configure,
    emulator,
    lines_of,
    write_records,
    wrong_results,
)
from tests.faults.scenario import scenario

__all__ = (
    "LOOK_SECONDS",
    "SWEEP_SOON",
    "check",
    "configure",
    "emulator",
    "lines_of",
    "write_records",
    "wrong_results",
)


def attempt(seed: int, records: int, kills: int, faults: bool) -> Report:
    """Run the scenario of a seed; the folder stays where something is wrong."""
    folder = Path(tempfile.mkdtemp(prefix=f"crash-{seed}-"))
    report = run_scenario(scenario(seed, records=records, kills=kills, faults=faults), folder)
    if report.wrong:
        report.folder = str(folder)
    else:
        shutil.rmtree(folder)
    return report


def print_report(report: Report, again: str) -> None:
    """Print a line on a run, and what is wrong with it."""
    counts = report.counts
    print(
        f"seed {report.seed}: {counts['kills']} kills, {counts['stops']} stops, "
        f"{counts['invocations']} invocations, {counts['sent more than once']} sent more than once "
        f"of {counts['repeated']} repeated, {len(report.wrong)} wrong, {report.seconds:.1f} s",
        flush=True,
    )
    for what in report.wrong[:10]:
        print(f"  {what}")
    if report.wrong:
        print(f"  its folder: {report.folder}\n  again: {again}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, help="processes to kill in all; else one run's")
    parser.add_argument("--kills", type=int, default=8, help="processes to kill of one run")
    parser.add_argument("--records", type=int, default=240, help="records of one run")
    parser.add_argument("--faults", action="store_true", help="each fault strikes 1 to 5 %%")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    wanted = options.runs or options.kills
    print(f"seed {options.seed}", flush=True)
    began = time.monotonic()
    counts, struck, failed = Counter[str](), Counter[str](), 0
    again = f"python -m tests.faults.crash --kills {options.kills} --records {options.records}"
    again += " --faults" * options.faults
    seeds = itertools.count(options.seed)
    running: set[Future[Report]] = set()
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        while True:
            # A run that is quicker than its interruptions has fewer kills than it was to have.
            missing = 0 if failed else wanted - counts["kills"] - len(running) * options.kills
            while missing > 0 and len(running) < options.jobs:
                kills = options.kills
                running.add(
                    pool.submit(attempt, next(seeds), options.records, kills, options.faults)
                )
                missing -= kills
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for report in (future.result() for future in done):
                print_report(report, f"{again} --seed {report.seed}")
                counts += report.counts
                struck += report.struck
                failed += bool(report.wrong)
    print(f"{time.monotonic() - began:.0f} s: {', '.join(f'{n} {c}' for c, n in counts.items())}")
    print(f"{struck.total()} faults: {', '.join(f'{c} {n}' for c, n in struck.most_common())}")
    print(f"{counts['kills']} kills, {counts['wrong lines']} wrong lines, {failed} failed runs")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
