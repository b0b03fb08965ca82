"""Integrity checks at load time, for a readable file whose pages are of two different moments.

A user restores the database from a copy and leaves the ``-wal`` of a later process beside it:
SQLite puts pages of the one upon pages of the other. Invocations that were settled in between are
outstanding again, and would get a second line in the results.
"""

import sqlite3
from collections.abc import Iterable, Mapping

from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.watermark import Watermark


def ensure_pages_intact(db: sqlite3.Connection) -> None:
    """Check that the pages of a database fit each other.

    Reads all of it: 200 MB in a tenth of a second where they are in the system's cache.

    Raises:
        sqlite3.DatabaseError: Some do not.
    """
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(" ".join(verdict.split()))


def ensure_outstanding_once(entries: Iterable[Entry], marks: Mapping[str, Watermark]) -> None:
    """Check that every record is outstanding once, and that none of them is settled.

    Raises:
        ValueError: One is outstanding twice, or settled as well.
    """
    seen: set[tuple[str, int]] = set()
    for entry in entries:
        for record_ref in entry.record_refs:
            stream, start = record_ref.position.stream, record_ref.position.start
            if (stream, start) in seen:
                raise ValueError(f"the record at {start} of {stream} is outstanding twice")
            if marks[stream].covers(start):
                raise ValueError(f"the record at {start} of {stream} is outstanding and settled")
            seen.add((stream, start))
