"""Tables of a ledger file, their version, and the migrations from older versions."""

import sqlite3
from pathlib import Path

from dispatcher.errors import StateError

VERSION = 3

_TABLES = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE tally (name TEXT PRIMARY KEY, records INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE sink (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    tail_crc INTEGER NOT NULL,
    tail_length INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE stream (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    mark INTEGER NOT NULL,
    line INTEGER NOT NULL
);
CREATE TABLE settled_range (
    stream INTEGER NOT NULL REFERENCES stream (id),
    start INTEGER NOT NULL,
    stop INTEGER NOT NULL,
    line INTEGER NOT NULL,
    PRIMARY KEY (stream, start)
) WITHOUT ROWID;
CREATE TABLE invocation (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    shard TEXT NOT NULL,
    state INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    route TEXT NOT NULL,
    size INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    planned_at REAL NOT NULL,
    accepted_at REAL,
    output TEXT,
    failure TEXT,
    manifest BLOB NOT NULL
);
"""

_MIGRATIONS = {
    2: """
ALTER TABLE invocation ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1;
ALTER TABLE invocation ADD COLUMN not_before REAL;
CREATE TABLE settled_message (
    stream INTEGER NOT NULL REFERENCES stream (id),
    name TEXT NOT NULL,
    settled_at REAL NOT NULL,
    PRIMARY KEY (stream, name)
) WITHOUT ROWID;
""",
    3: """
ALTER TABLE invocation ADD COLUMN encoding TEXT NOT NULL DEFAULT 'json';
ALTER TABLE invocation ADD COLUMN first_attempt INTEGER NOT NULL DEFAULT 1;
ALTER TABLE invocation ADD COLUMN staged TEXT;
CREATE TABLE discarded (location TEXT PRIMARY KEY) WITHOUT ROWID;
""",
}
"""Migrations to each version from the one before it. A new ledger takes them, too, and so has the
same tables."""


def prepare(db: sqlite3.Connection, path: Path) -> None:
    """Create the tables of a new ledger, or migrate those of an older version to this one.

    Each in one transaction: a crash leaves what was there before, or all of it.

    Raises:
        StateError: The file is not a ledger, or one of a newer version.
    """
    version = db.execute("PRAGMA user_version").fetchone()[0]
    script = ""
    if version == 0:
        if db.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise StateError(
                f"{path} is a database of something else, not a ledger. Name a new file in "
                "ledger.path"
            )
        script, version = _TABLES, 1
    if version > VERSION:
        raise StateError(
            f"{path} is a ledger of a newer version (schema {version}, not {VERSION}). Finish the "
            "run with the version that began it, or name a new file in ledger.path"
        )
    script += "".join(_MIGRATIONS[step] for step in range(version + 1, VERSION + 1))
    if script:
        db.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {VERSION}; COMMIT;")
