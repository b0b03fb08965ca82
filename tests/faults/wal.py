"""Cut the write-ahead log of a ledger at every byte, and flip every byte of it.

    python -m tests.faults.wal

A power loss leaves any part of what was last written. Whatever is left, the ledger that is opened
from it stands exactly where the last whole transaction before the damage left it, and its results
file is cut back to the same moment.
"""

import argparse
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import anyio

from dispatcher.connectors.jsonl.sink import JsonlFile
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.open import open_ledger
from dispatcher.ledger.outcome import Outcome, Settlement
from dispatcher.packing.parcel import Parcel
from dispatcher.records.record import Position, Record
from tests.payloads import codec, joined

HEADER_BYTES, FRAME_BYTES = 32, 24 + 4096
"""Of a write-ahead log: its own header, then frames of a header and a page."""

Dump = dict[str, list[tuple[object, ...]]]


@dataclass(slots=True)
class Moment:
    """The durable state after a commit.

    Attributes:
        log_bytes: Length of the log.
        tables: Every row of every table.
        results: The settled part of the results file.
    """

    log_bytes: int
    tables: Dump
    results: bytes


@dataclass(slots=True)
class Image:
    """The files of a run that lost its power, and what it had made durable one after the other."""

    folder: Path
    log: bytes = b""
    moments: list[Moment] = field(default_factory=list)

    def expected(self, sound_bytes: int) -> Moment:
        """Return the last moment that lies within so many sound bytes of the log."""
        return [m for m in self.moments if m.log_bytes <= sound_bytes][-1]


def dump(path: Path) -> Dump:
    """Return every row of a database, read while another process writes it."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {name: db.execute(f"SELECT * FROM {name}").fetchall() for (name,) in tables}


async def make_image(folder: Path) -> Image:
    """Plan, accept and settle in a run, and keep its files as they were before it was closed."""
    live, image = folder / "live", Image(folder / "image")
    path, results = live / "ledger.db", live / "results.jsonl"
    written = b""
    async with open_ledger(path, codec=codec("lines")) as ledger:
        with closing(JsonlFile.open(str(results), None)) as sink:

            def note() -> None:
                size = path.with_name("ledger.db-wal").stat().st_size
                image.moments.append(Moment(size, dump(path), written))

            async def settle(number: int) -> None:
                nonlocal written
                lines = [b'{"key":"%d.%d"}' % (number, n) for n in range(3)]
                mark = sink.append(lines)
                written += b"".join(line + b"\n" for line in lines)
                await ledger.settle([completed(ledger, number)], {"results": mark})
                note()

            note()
            await ledger.adopt("results", sink.mark)
            note()
            first = ledger._numbers.last + 1
            # Out of order, so that ranges come and go above the mark.
            for settled in (2, 0, 1, 4):
                planned = await ledger.plan(
                    [parcel(first, ledger._numbers.last + n) for n in (1, 2)]
                )
                note()
                ledger.accept(planned[0], 2.5, f"s3://out/{planned[0].id}.out", None)
                await ledger.remember(turn=str(settled))
                note()
                if ledger.find(first + settled):
                    await settle(first + settled)
        shutil.copytree(live, image.folder)
    image.log = (image.folder / "ledger.db-wal").read_bytes()
    assert image.log[:4] in (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
    assert (len(image.log) - HEADER_BYTES) % FRAME_BYTES == 0
    return image


def parcel(first: int, number: int) -> Parcel:
    """Pack the three records of an invocation."""
    at = 3 * (number - first)
    records = [
        Record(Position("a.jsonl", n * 10, n * 10 + 10, n + 1), f"k{n}", b"%d" % n)
        for n in range(at, at + 3)
    ]
    payload = joined("lines", [record.raw for record in records])
    return Parcel(records, payload, "application/jsonlines", "inline")


def completed(ledger: Ledger, number: int) -> Settlement:
    """Return the settlement of an invocation."""
    entry = ledger.find(number)
    assert isinstance(entry, Entry)
    return Settlement(
        entry, [Outcome(s.position, s.key, "completed", b"", None) for s in entry.record_refs]
    )


async def wrong(image: Image, log: bytes, expected: Moment, folder: Path) -> str | None:
    """Open the run with this log, and return what is wrong with where it stands."""
    path = folder / "ledger.db"
    shutil.copytree(image.folder, folder)
    path.with_name("ledger.db-shm").unlink(missing_ok=True)
    path.with_name("ledger.db-wal").write_bytes(log)
    try:
        async with open_ledger(path, codec=codec("lines")) as ledger:
            if lost := ledger.without_payload():
                return f"{len(lost)} payloads are gone"
            results = folder / "results.jsonl"
            mark = ledger.sink("results")
            if mark is not None:
                JsonlFile.open(str(results), mark).close()
                if results.read_bytes() != expected.results:
                    return "the results are not those of that moment"
        if dump(path) != expected.tables:
            return "the tables are not those of that moment"
    finally:
        shutil.rmtree(folder)
    return None


def damages(image: Image, offsets: Iterable[int]) -> Iterator[tuple[str, bytes, Moment]]:
    """Yield for each offset the log that ends there, and the log with that byte changed."""
    for offset in offsets:
        yield f"cut at {offset}", image.log[:offset], image.expected(offset)
        flipped = bytearray(image.log)
        flipped[offset] ^= 0x10
        frame_start = offset - (offset - HEADER_BYTES) % FRAME_BYTES
        yield f"flipped at {offset}", bytes(flipped), image.expected(frame_start)


async def main(every: int) -> int:
    """Try every offset of the last three transactions, or one of ``every``."""
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        image = await make_image(Path(name))
        start = image.moments[-4].log_bytes
        bad, tried = 0, count()
        for what, log, expected in damages(image, range(start, len(image.log), every)):
            if mistake := await wrong(image, log, expected, Path(name) / "try"):
                print(f"{what}: {mistake}", flush=True)
                bad += 1
            if next(tried) % 10_000 == 0:
                print(what, flush=True)
    print(f"{next(tried)} damaged logs of {len(image.log) - start} bytes, {bad} wrong")
    return 1 if bad else 0


def memory() -> Path | None:
    """Return a folder whose syncs cost nothing, or None."""
    folder = Path("/dev/shm")
    return folder if folder.is_dir() else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="try one offset of so many")
    sys.exit(anyio.run(main, parser.parse_args().every))
