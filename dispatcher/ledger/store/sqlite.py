"""Store in a SQLite file: loads a ledger at the start, and commits groups of operations.

Synchronous and without decisions; one thread at a time writes. A row of ``invocation`` is an
outstanding invocation with the manifest of its records; settled records are only a range of their
stream, or have no row where they lie below the mark.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar, cast

from dispatcher import failpoints
from dispatcher.errors import StateError
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.operations import (
    Accept,
    Count,
    Deleted,
    Forget,
    Operation,
    Plan,
    Remember,
    Replace,
    Restore,
    Settle,
    SinkMark,
    Stage,
)
from dispatcher.ledger.payloads.spool import Spool
from dispatcher.ledger.states import State
from dispatcher.ledger.store import integrity, schema
from dispatcher.ledger.store.rows import (
    COLUMNS,
    INSERT,
    SELECT,
    as_float,
    as_int,
    entry_from_row,
    row_from_entry,
)
from dispatcher.ledger.watermark import Watermark
from dispatcher.records.source import Mark

_CHUNKS = (56, 8, 1)
"""Rows of one statement; times 17 columns, within the 999 parameters of old SQLite versions."""

_Row = TypeVar("_Row")

_DAMAGE = (sqlite3.Error, AssertionError, KeyError, OverflowError, TypeError, ValueError)
"""Errors of reading rows that are not as they were written."""

_DISK_ERRORS = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
"""Error codes of a disk that fails under a ledger which may be sound."""


class SqliteStore:
    """An open ledger file.

    Attributes:
        facts, tallies, sinks: The small tables, as they were at the start.
        marks: The watermark of each stream, by its name, as it was at the start.
        entries: The outstanding invocations, as they were at the start.
        settled_messages: Messages whose records are settled, by stream and name, with the time.
        last_number: The highest number ever given to an invocation.
    """

    def __init__(self, path: Path, spool: Spool, durability: Literal["full", "relaxed"]) -> None:
        self._spool = spool
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise StateError(
                f"the ledger {path} cannot be opened: {error}. Name a file in ledger.path that can "
                "be read and written"
            ) from error
        try:
            integrity.ensure_pages_intact(self._db)
            schema.prepare(self._db, path)
            # Only now: the database of another program is left as it is.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
            self._load()
        except _DAMAGE as error:
            self._db.close()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DISK_ERRORS:
                raise _write_error(error) from error
            why = error if isinstance(error, sqlite3.Error) else f"a row is damaged ({error!r})"
            raise StateError(
                f"the ledger {path} cannot be read: {why}. It is damaged or not a ledger; "
                "restore it from a copy, or name a new file in ledger.path to begin a new run"
            ) from error
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._db.close()

    def apply(self, operations: Sequence[Operation]) -> None:
        """Commit a group of operations; when it returns they survive what ``durability`` says.

        Raises:
            StateError: The disk is full or fails; nothing of the group is stored.
        """
        settled = [op.entries for op in operations if isinstance(op, Settle)]
        over = {entry.planned.number for entries in settled for entry in entries}
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for kind, run in groupby(operations, type):
                if kind is Accept:  # one that the same group closes needs no update
                    accepted = cast("list[Accept]", list(run))
                    self._accept([a for a in accepted if a.number not in over])
                else:
                    for operation in run:
                        self._write(operation)
            failpoints.reach("ledger.written")
            self._db.execute("COMMIT")
            failpoints.reach("ledger.committed")
        except sqlite3.Error as error:
            self._roll_back()
            raise _write_error(error) from error
        except BaseException:
            self._roll_back()
            raise
        for entries in settled:
            self._spool.release([entry.payload for entry in entries if entry.payload])

    def discarded(self, after: str, limit: int) -> list[str]:
        """Return objects to delete: the first ones above a location, in order.

        Raises:
            StateError: They cannot be read.
        """
        query = "SELECT location FROM discarded WHERE location > ? ORDER BY location LIMIT ?"
        try:
            return [str(location) for (location,) in self._db.execute(query, (after, limit))]
        except sqlite3.Error as error:
            raise _write_error(error) from error

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _load(self) -> None:
        self.facts: dict[str, str] = dict(self._db.execute("SELECT name, value FROM fact"))
        self.tallies: dict[str, int] = {
            name: as_int(records) for name, records in self._db.execute("SELECT * FROM tally")
        }
        self.sinks = {
            name: SinkMark(as_int(position), as_int(crc), as_int(length))
            for name, position, crc, length in self._db.execute("SELECT * FROM sink")
        }
        streams = self._db.execute("SELECT id, name, mark, line FROM stream").fetchall()
        self._streams = {name: number for number, name, _, _ in streams}
        names = {number: name for number, name, _, _ in streams}
        self.marks = {
            name: Watermark(Mark(as_int(mark), as_int(line))) for _, name, mark, line in streams
        }
        for stream, start, stop, line in self._db.execute(
            "SELECT stream, start, stop, line FROM settled_range ORDER BY stream, start"
        ):
            self.marks[names[stream]].load(as_int(start), as_int(stop), as_int(line))
        self.entries = [self._entry(row, names) for row in self._db.execute(SELECT)]
        integrity.ensure_outstanding_once(self.entries, self.marks)
        self.settled_messages: dict[str, dict[str, float]] = {}
        for stream, name, at in self._db.execute("SELECT * FROM settled_message"):
            self.settled_messages.setdefault(names[stream], {})[str(name)] = as_float(at)
        last = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'invocation'")
        self.last_number: int = (last.fetchone() or (0,))[0]

    def _entry(self, row: tuple[object, ...], names: dict[int, str]) -> Entry:
        entry = entry_from_row(row, names)
        if entry.payload is not None and not self._spool.recover(entry.payload):
            entry.payload = None
        return entry

    def _write(self, operation: Operation) -> None:
        match operation:
            case Plan():
                self._plan(operation)
            case Restore():
                entry, (ref,) = operation.entry, self._spool.append([operation.spooled])
                entry.payload = ref
                self._db.execute(
                    "UPDATE invocation SET segment = ?, offset = ? WHERE number = ?",
                    (ref.segment, ref.offset, entry.planned.number),
                )
            case Replace(old, new, discarded):
                self._delete([old])
                self._discard(discarded)
                self._insert(new)
                self._spool.share([entry.payload for entry in new[1:] if entry.payload])
            case Settle():
                self._settle(operation)
            case Forget(messages):
                for stream, names in messages.items():
                    self._db.executemany(
                        "DELETE FROM settled_message WHERE stream = ? AND name = ?",
                        [(self._streams[stream], name) for name in names],
                    )
            case Stage(number, location, discarded):
                self._db.execute(
                    "UPDATE invocation SET staged = ? WHERE number = ?", (location, number)
                )
                self._db.execute("DELETE FROM discarded WHERE location = ?", (location,))
                self._discard(discarded)
            case Deleted(location):
                self._db.execute("DELETE FROM discarded WHERE location = ?", (location,))
            case Count(name, more):
                self._count({name: more})
            case Remember():
                self._db.execute(
                    "INSERT OR REPLACE INTO fact VALUES (?, ?)", (operation.name, operation.value)
                )

    def _plan(self, plan: Plan) -> None:
        refs = self._spool.append(plan.spooled)
        failpoints.reach("ledger.spooled")
        for entry, ref in zip(plan.entries, refs, strict=True):
            entry.payload, entry.crc = ref, ref.crc
            for record_ref in entry.record_refs:
                if record_ref.position.stream not in self._streams:
                    self._add_stream(record_ref.position.stream)
        self._insert(plan.entries)

    def _insert(self, entries: Sequence[Entry]) -> None:
        rows = [row_from_entry(entry, self._streams) for entry in entries]
        for chunk in _chunks(rows):
            self._db.execute(
                f"{INSERT} VALUES {_placeholders(_ROW, len(chunk))}",
                [value for row in chunk for value in row],
            )

    def _delete(self, entries: Sequence[Entry]) -> None:
        numbers = [entry.planned.number for entry in entries]
        deleted = 0
        for chunk in _chunks(numbers):
            deleted += self._db.execute(
                f"DELETE FROM invocation WHERE number IN ({_placeholders('?', len(chunk))})",  # noqa: S608 - placeholders
                chunk,
            ).rowcount
        if deleted != len(numbers):
            raise sqlite3.IntegrityError(
                f"{len(numbers)} invocations were to be closed, {deleted} were there"
            )

    def _accept(self, accepted: Sequence[Accept]) -> None:
        for chunk in _chunks(accepted):
            rows = [(a.number, a.accepted_at, a.output, a.failure) for a in chunk]
            self._db.execute(
                "WITH accepted (number, at, output, failure) AS "  # noqa: S608 - placeholders and numbers
                f"(VALUES {_placeholders('(?, ?, ?, ?)', len(rows))}) "
                "UPDATE invocation SET (state, accepted_at, output, failure) = "
                f"(SELECT {State.ACCEPTED:d}, a.at, a.output, a.failure "
                "FROM accepted a WHERE a.number = invocation.number) "
                f"WHERE state = {State.PLANNED:d} AND number IN (SELECT number FROM accepted)",
                [value for row in rows for value in row],
            )

    def _settle(self, settle: Settle) -> None:
        self._delete(settle.entries)
        for name, change in settle.changes.items():
            stream = self._streams.get(name) or self._add_stream(name)
            self._db.executemany(
                "DELETE FROM settled_range WHERE stream = ? AND start = ?",
                [(stream, start) for start in change.removed],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO settled_range VALUES (?, ?, ?, ?)",
                [(stream, *settled) for settled in change.ranges],
            )
            if change.mark is not None:
                self._db.execute(
                    "UPDATE stream SET mark = ?, line = ? WHERE id = ?",
                    (change.mark.offset, change.mark.line, stream),
                )
        self._db.executemany(
            "INSERT OR REPLACE INTO sink VALUES (?, ?, ?, ?)",
            [(name, m.position, m.tail_crc, m.tail_length) for name, m in settle.sinks.items()],
        )
        self._discard(settle.discarded)
        self._count(settle.tallies)
        for name, messages in settle.messages.items():
            self._db.executemany(
                "INSERT INTO settled_message VALUES (?, ?, ?)",
                [(self._streams[name], message, settle.at) for message in messages],
            )

    def _discard(self, locations: Sequence[str]) -> None:
        self._db.executemany(
            "INSERT OR IGNORE INTO discarded VALUES (?)", [(location,) for location in locations]
        )

    def _count(self, tallies: Mapping[str, int]) -> None:
        self._db.executemany(
            "INSERT INTO tally VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET records = records + excluded.records",
            list(tallies.items()),
        )

    def _add_stream(self, name: str) -> int:
        cursor = self._db.execute("INSERT INTO stream (name, mark, line) VALUES (?, 0, 0)", (name,))
        assert cursor.lastrowid is not None
        self._streams[name] = cursor.lastrowid
        return cursor.lastrowid


def _write_error(error: Exception) -> StateError:
    return StateError(
        f"cannot write the ledger: {error}. Make sure that its disk has space and can be written, "
        "then run the same command again; everything so far is kept"
    )


_ROW = f"({', '.join('?' * COLUMNS)})"


def _chunks(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """Cut rows into pieces for one statement each.

    A statement releases the interpreter lock once, however many rows it has, and the event loop
    then holds it for milliseconds before the next one. Few sizes, so that few statements are
    prepared.
    """
    start = 0
    for size in _CHUNKS:
        while start + size <= len(rows):
            yield rows[start : start + size]
            start += size


def _placeholders(row: str, count: int) -> str:
    return ", ".join([row] * count)
