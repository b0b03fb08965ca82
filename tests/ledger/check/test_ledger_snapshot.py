"""The columns of a snapshot are those of the table that it reads."""

import sqlite3
from contextlib import closing
from pathlib import Path

from dispatcher.ledger.check.ledger_snapshot import COLUMNS, LedgerSnapshot
from dispatcher.ledger.store import schema


def test_every_column_of_an_invocation_is_read_once() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        schema.prepare(db, Path("ledger.db"))
        stored = [row[1] for row in db.execute("PRAGMA table_info(invocation)")]
    read = COLUMNS.split(", ")
    assert sorted(read) == sorted(stored)
    assert read[-1] == "manifest"


def test_an_empty_snapshot_is_of_the_present_version_and_shares_nothing() -> None:
    first, second = LedgerSnapshot(), LedgerSnapshot()
    first.broken.append("a page")
    first.payloads[1] = "missing"
    assert (second.broken, second.payloads, second.version) == ([], {}, schema.VERSION)
