"""Watch the memory of a run over a large input, and fail if it is too much or grows.

    python -m tests.faults.memory --megabytes 1000
    python -m tests.faults.memory --megabytes 900 --one

Records are of 100 bytes to 2 MB, or there is one of all these bytes. The emulator is a process of
its own; measured is the resident memory of ``dispatcher run``.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from dispatcher.emulator.models.model import ModelRequest, ModelResponse
from dispatcher.samples import records
from tests.faults import crash

MOST_BYTES = 250_000_000
MOST_BYTES_OF_ONE = 300_000_000
MOST_GROWTH = 1.1
MEAN_RECORD_BYTES = 200_000
UNREADABLE_BYTES = 10_000


def length(request: ModelRequest) -> ModelResponse:
    """Answer with the number of bytes: the model for a single record, which none would echo."""
    return ModelResponse(b'{"bytes": %d}' % len(request.body))


def watch(process: subprocess.Popen[bytes]) -> list[int]:
    """Return the resident bytes of a process, ten times a second until it ends."""
    seen = []
    while process.poll() is None:
        try:
            seen.append(psutil.Process(process.pid).memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.1)
    process.wait()
    return seen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--unreadable", action="store_true", help="lines that are dead letters")
    parser.add_argument("--one", action="store_true", help="a single record, staged in parts")
    options = parser.parse_args()
    mean = UNREADABLE_BYTES if options.unreadable else MEAN_RECORD_BYTES
    count = 1 if options.one else options.megabytes * 1_000_000 // mean
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "in.jsonl"
        sections = {"source": {"max_record": "1GB"}} if options.one else {}
        if options.one:
            with source.open("wb") as file:
                file.write(b'{"id": 1, "text": "')
                file.writelines(itertools.repeat(b"0123456789" * 100_000, options.megabytes))
                file.write(b'"}\n')
        elif options.unreadable:
            with source.open("wb") as file:
                file.writelines(itertools.repeat(b"x" * (UNREADABLE_BYTES - 1) + b"\n", count))
        else:
            made = ["--count", str(count), "--out", str(source), "--max-bytes", "2000000"]
            subprocess.run([sys.executable, "-m", records.__name__, *made], check=True)
        model = "tests.faults.memory:length" if options.one else "echo"
        given = ("--instances", "64", "--state", str(folder / "s3"), "--model", model)
        with crash.emulator(folder, *given) as environment:
            run = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "dispatcher",
                    "run",
                    crash.configure(folder, environment, **sections),
                ],
                env={**os.environ, **environment},
            )
            seen = watch(run)
        lines = crash.lines_of(folder, "dead" if options.unreadable else "results")
        size = source.stat().st_size
    quarter = len(seen) // 4
    quarters = [statistics.median(seen[i * quarter : (i + 1) * quarter]) for i in range(4)]
    print(f"{lines} of {count} records, {size / 1e6:,.0f} MB; exit code {run.returncode}")
    print(f"peak {max(seen) / 1e6:.0f} MB; median of each quarter of the time, MB:", end=" ")
    print(*(f"{q / 1e6:.0f}" for q in quarters))
    # A short run is half over when it has imported and filled what it may hold; one of dead letters
    # is over within seconds, and only the bound shows it.
    grew = not (options.unreadable or options.one) and quarters[3] > quarters[2] * MOST_GROWTH
    max_bytes = MOST_BYTES_OF_ONE if options.one else MOST_BYTES
    expected = 2 if options.unreadable else 0
    return int(run.returncode != expected or lines != count or max(seen) > max_bytes or grew)


if __name__ == "__main__":
    sys.exit(main())
