"""Reader of a whole ledger for ``dispatcher.ledger.check.verify``, which changes nothing.

Not beside a run: the payloads that the run settles meanwhile are deleted from the spool, and would
be reported as missing. Nor does it lock a run out: it sees afterwards that a run began, and then
discards everything that was read.
"""

import os
import re
import sqlite3
import zlib
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from dispatcher.errors import ConfigError, StateError
from dispatcher.ledger.check.ledger_snapshot import COLUMNS, LedgerSnapshot, Row, SinkFile
from dispatcher.ledger.store import schema
from dispatcher.ledger.store.lock import is_locked

_BLOCK_BYTES = 1_000_000
_SEGMENT = re.compile(r"\d{8}\.spool")

_TABLES = {
    "facts": "SELECT name, value FROM fact ORDER BY name",
    "tallies": "SELECT name, records FROM tally ORDER BY name",
    "sinks": "SELECT name, position, tail_crc, tail_length FROM sink ORDER BY name",
    "streams": "SELECT id, name, mark, line FROM stream ORDER BY id",
    "ranges": "SELECT stream, start, stop, line FROM settled_range ORDER BY stream, start",
    "messages": "SELECT stream, name, settled_at FROM settled_message ORDER BY stream, name",
    "invocations": f"SELECT {COLUMNS} FROM invocation ORDER BY number",  # noqa: S608 - a constant
}


def read_snapshot(path: Path) -> LedgerSnapshot:
    """Read a ledger, its spool, and the files of its sinks.

    Args:
        path: The SQLite file.

    Raises:
        ConfigError: There is no such ledger.
        StateError: A run holds it, or began while it was read; or it is no database.
    """
    if not path.is_file():
        raise _not_begun(path)
    before = _last_locked(path)
    if is_locked(path):
        raise _in_use(path)
    try:
        with closing(_connect(path)) as db:
            snapshot = _read(db)
            is_blank = not db.execute("SELECT 1 FROM sqlite_master").fetchone()
            has_tables_only = snapshot.version == schema.VERSION and not (
                snapshot.broken or snapshot.facts or snapshot.streams or snapshot.invocations
            )
            if is_blank or has_tables_only:  # killed while it was made; the next run goes on
                raise _not_begun(path)
    except sqlite3.Error as error:
        raise StateError(
            f"the ledger {path} cannot be read: {error}. Restore it from a copy, or name a new "
            "file in ledger.path to begin a new run"
        ) from error
    spool = path.with_name(path.name + ".spool")
    snapshot.payloads = _payloads(spool, snapshot.invocations)
    if spool.is_dir():
        names = sorted(entry.name for entry in spool.iterdir())
        snapshot.unknown_files = [name for name in names if not _SEGMENT.fullmatch(name)]
    snapshot.files = {
        name: _read_sink(name, position, length)
        for name, position, _, length in snapshot.sinks
        if isinstance(name, str)
        and isinstance(position, int)
        and isinstance(length, int)
        and 0 <= length <= position
    }
    if _last_locked(path) != before or is_locked(path):
        raise _in_use(path)
    return snapshot


def _not_begun(path: Path) -> ConfigError:
    return ConfigError(
        f"there is no ledger at {path}: no run has begun with this configuration. Begin one with "
        "`dispatcher run`, or correct ledger.path"
    )


def _in_use(path: Path) -> StateError:
    return StateError(
        f"the ledger {path} is in use by a run, and would change while it is checked. Check it "
        "when the run has ended; `dispatcher status` shows it meanwhile"
    )


def _last_locked(path: Path) -> int | None:
    """Return the time when a run last locked the ledger, or None."""
    try:
        return path.with_name(path.name + ".lock").stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _connect(path: Path) -> sqlite3.Connection:
    log = path.with_name(path.name + "-wal")
    # Without a log SQLite needs no recovery, and must not create a file beside the ledger.
    mode = "mode=ro" if log.exists() and log.stat().st_size else "immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)


def _read(db: sqlite3.Connection) -> LedgerSnapshot:
    snapshot = LedgerSnapshot(version=db.execute("PRAGMA user_version").fetchone()[0])
    pages = _rows(db, "its pages", "PRAGMA integrity_check", snapshot)
    snapshot.broken += [" ".join(str(text).split()) for (text,) in pages if text != "ok"]
    orphans = _rows(db, "its references", "PRAGMA foreign_key_check", snapshot)
    snapshot.broken += [
        f"a row of {table} belongs to no {parent}" for table, _, parent, _ in orphans
    ]
    if snapshot.version == schema.VERSION:
        for name, query in _TABLES.items():
            setattr(snapshot, name, _rows(db, name, query, snapshot))
        last = "SELECT seq FROM sqlite_sequence WHERE name = 'invocation'"
        for (seq,) in _rows(db, "last number", last, snapshot):
            snapshot.last_number = seq
    return snapshot


def _rows(db: sqlite3.Connection, name: str, query: str, snapshot: LedgerSnapshot) -> list[Row]:
    """Return the rows of a query; if they cannot be read, none, and note it in the snapshot."""
    try:
        return db.execute(query).fetchall()
    except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
        snapshot.broken.append(f"{name} cannot be read ({error})")
        return []


class _Payload(NamedTuple):
    """Recorded place of a payload; sorts in the order in which segments are read."""

    segment: int
    offset: int
    size: int
    crc: int
    number: int


def _payloads(spool: Path, rows: Iterable[Row]) -> dict[int, Literal["missing", "damaged"]]:
    """Return the defects of payloads, by the numbers of their invocations."""
    places = []
    for row in rows:
        size, crc, segment, offset = row[6:10]
        match (segment, offset, size, crc, row[0]):
            case (int(), int(), int(), int(), int()) as place if min(place[:3]) >= 0:
                places.append(_Payload(*place))
    defects: dict[int, Literal["missing", "damaged"]] = {}
    with ExitStack() as stack:
        segment, file = -1, None
        for place in sorted(places):
            if place.segment != segment:
                stack.close()
                segment, file = place.segment, _open(stack, spool, place.segment)
            if file is None or os.fstat(file.fileno()).st_size < place.offset + place.size:
                defects[place.number] = "missing"
            elif zlib.crc32(os.pread(file.fileno(), place.size, place.offset)) != place.crc:
                defects[place.number] = "damaged"
    return dict(sorted(defects.items()))


def _open(stack: ExitStack, spool: Path, segment: int) -> BinaryIO | None:
    try:
        return stack.enter_context((spool / f"{segment:08d}.spool").open("rb"))
    except OSError:
        return None


def _read_sink(name: str, position: int, tail_length: int) -> SinkFile | str | None:
    """Read a sink's file up to the recorded position."""
    try:
        with Path(name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            lines, rest = 0, position
            while rest > 0 and (block := file.read(min(rest, _BLOCK_BYTES))):
                lines += block.count(b"\n")
                rest -= len(block)
            tail = os.pread(file.fileno(), tail_length, position - tail_length)
            return SinkFile(size, lines, zlib.crc32(tail))
    except FileNotFoundError:
        return None
    except OSError as error:
        return str(error.strerror)
