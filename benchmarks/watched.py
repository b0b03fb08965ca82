"""A run of ``dispatcher`` in a process of its own, and what it takes while it goes on."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from benchmarks.rig import ROOT, Stub, ask


@dataclass(slots=True, frozen=True)
class Sample:
    """One sample of a run; sizes in bytes, None where they could not be read.

    Attributes:
        seconds: Since the start.
        process: Which of the processes of the run it was, from 0.
        rss: Resident memory of the process.
        ledger: The ledger's file and its write-ahead log together.
        wal: The log alone.
        spool: Payloads beside the ledger.
        settled: Records that the ledger counts as settled.
        ranges: Settled ranges above the source's mark.
        held: Invocations that the stub holds.
    """

    seconds: float
    process: int
    rss: int | None
    ledger: int
    wal: int
    spool: int
    settled: int | None
    ranges: int | None
    held: int


@dataclass(slots=True)
class Run:
    """A run on its files, watched.

    Attributes:
        samples: Since the start.
        processes: Started so far.
    """

    folder: Path
    at: Stub
    limit: float
    samples: list[Sample] = field(default_factory=list)
    processes: int = 0
    began: float = field(default_factory=time.time)

    @property
    def ledger(self) -> Path:
        """Return the ledger's file."""
        return self.folder / "ledger.db"

    def seconds(self) -> float:
        """Return how long it has been going on."""
        return time.time() - self.began

    @contextmanager
    def process(self, said: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
        """Start ``dispatcher run``, always the same command line; kill what is left at the end."""
        command = [sys.executable, "-m", "dispatcher", "run", str(self.folder / "run.yaml")]
        with subprocess.Popen(
            [*command, "--progress", "none"],
            env=self.at.environment(),
            cwd=ROOT,
            stdout=said,
            stderr=said,
        ) as process:
            self.processes += 1
            try:
                yield process
            finally:
                process.kill()

    def sample(self, process: subprocess.Popen[bytes]) -> Sample:
        """Look once, and keep it."""
        served = ask(self.at.http, "GET", "/_stub/stats")
        rss = None
        with suppress(psutil.Error):
            rss = psutil.Process(process.pid).memory_info().rss
        settled, ranges = _counts(self.ledger)
        wal = _size(self.folder / "ledger.db-wal")
        sample = Sample(
            self.seconds(),
            self.processes - 1,
            rss,
            _size(self.ledger) + wal,
            wal,
            _spool_size(self.folder / "ledger.db.spool"),
            settled,
            ranges,
            served["held"],
        )
        self.samples.append(sample)
        return sample

    def watch(self, process: subprocess.Popen[bytes], every: float, until: int) -> None:
        """Sample until so many records are settled.

        Raises:
            SystemExit: The process ended before, or it took too long.
        """
        while (self.sample(process).settled or 0) < until:
            if process.poll() is not None:
                raise SystemExit(f"the run ended with {process.returncode} before {until} records")
            if self.seconds() > self.limit:
                raise SystemExit(f"{until} records were not settled in {self.limit} s")
            time.sleep(every)


def _counts(ledger: Path) -> tuple[int | None, int | None]:
    """Return how many records are settled, and in how many ranges above the mark."""
    try:
        with closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True)) as db:
            settled = db.execute("SELECT coalesce(sum(records), 0) FROM tally").fetchone()[0]
            ranges = db.execute("SELECT count(*) FROM settled_range").fetchone()[0]
    except sqlite3.Error:  # there is no ledger yet, or no process that has its log open
        return None, None
    return settled, ranges


def _size(file: Path) -> int:
    with suppress(FileNotFoundError):
        return file.stat().st_size
    return 0


def _spool_size(folder: Path) -> int:
    return sum(_size(file) for file in folder.glob("*"))
