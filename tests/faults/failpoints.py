"""Kill a run at every named moment: at the first visit, and the next process at a later one.

    python -m tests.faults.failpoints --name dispatch.answered

The names are read from the code, so that none can be forgotten; one that no story here comes to is
an error. What each process leaves is judged as in ``tests.faults.crash``, and the third one must
finish.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from tests.faults.killed_run import Report, run_scenario
from tests.faults.scenario import Interruption, Scenario, moments

LATER = 3
"""The later visit."""

NEVER = 10**9
"""Result lines before which no kill comes from outside."""

RECORDS = 32

STORIES = {"completion.split": ("packed",)}
"""The kind of run for the moments that the usual kinds do not pass."""


def story(moment: str, kind: str) -> Scenario:
    """Return a small run whose every part is visited some times: little is outstanding at once.

    Args:
        moment: Where its first two processes die.
        kind: Where records come from; ``packed``: from a file, and a container that takes one at a
            time gets several.
    """
    scenario = Scenario(
        seed=1,
        records=RECORDS,
        large_share=0.4,
        sections={
            "packing": {"linger": "5ms"},
            "limits": {"concurrency": 2, "outstanding": 4},
            "completion": {"sweep_after": "200ms"},
            "sink": {"join": "both"},
        },
        emulator={"instances": 4, "service_time": 0.01},
        without_queue=False,
        from_queue=kind == "queue",
        interruptions=tuple(
            Interruption("kill", NEVER, 0.0, f"{moment}:{visit}") for visit in (1, LATER)
        ),
    )
    if kind != "packed":
        return scenario
    packing = {"framing": "lines", "max_records": 4, "linger": "5ms"}
    return replace(
        scenario,
        large_share=0.0,
        sections={**scenario.sections, "packing": packing},
        emulator={**scenario.emulator, "model": "tests.faults.containers:alone"},
    )


def die_at(moment: str) -> Report:
    """Let a run die at a moment; its folder stays where something is wrong.

    The run is that of the first story that comes there often enough.
    """
    for kind in STORIES.get(moment, ("file", "queue")):
        scenario = story(moment, kind)
        folder = Path(tempfile.mkdtemp(prefix=f"{moment}-"))
        report = run_scenario(scenario, folder)
        if report.wrong:
            report.folder = str(folder)
            break
        shutil.rmtree(folder)
        if report.counts["kills"] == len(scenario.interruptions):
            break
    else:
        report.wrong.append(f"{moment} is visited less than {LATER} times: take another kind")
    return report


def die_everywhere(names: Sequence[str], jobs: int) -> dict[str, Report]:
    """Let a run die at each of these moments; some at a time, each in a process of its own."""
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        return dict(zip(names, pool.map(die_at, names), strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", choices=moments(), help="only this one")
    parser.add_argument("--jobs", type=int, default=4, help="runs at a time")
    options = parser.parse_args()
    names = [options.name] if options.name else moments()
    failed = 0
    for name, report in die_everywhere(names, options.jobs).items():
        print(f"{name}: {report.counts['kills']} kills, {report.seconds:.1f} s")
        for what in report.wrong[:10]:
            print(f"  {what}")
        if report.wrong:
            failed += 1
            print(f"  its folder: {report.folder}")
            print(f"  again: python -m tests.faults.failpoints --name {name}")
    print(f"{len(names)} moments, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
