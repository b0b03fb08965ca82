"""What a file that can be read does not say when its pages are of two different moments.

Somebody restores the database from a copy and leaves the ``-wal`` of a later process beside it:
SQLite puts pages of the one upon pages of the other. Invocations that were settled in between are
back, and would have a second line in the results.
"""

import sqlite3
from collections.abc import Iterable, Mapping

from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.watermark import Watermark


def check_pages(db: sqlite3.Connection) -> None:
    """See that the pages of a database fit each other.

    Reads all of it: 200 MB in a tenth of a second where they are in the system's cache.

    Raises:
        sqlite3.DatabaseError: They do not.
    """
    (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(" ".join(found.split()))


def check_records(entries: Iterable[Entry], marks: Mapping[str, Watermark]) -> None:
    """See that every record is outstanding once, and that none of them is settled.

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
