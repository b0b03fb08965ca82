"""Ledgers of every older version are migrated; those of a newer version are refused unchanged."""

import sqlite3
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import Any

import msgpack
import pytest

from dispatcher.errors import StateError
from dispatcher.ledger.check.status import read_status
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.operations import SinkMark
from dispatcher.ledger.outcome import Settlement
from dispatcher.ledger.states import State
from dispatcher.ledger.store import schema
from dispatcher.records.source import Mark

Run = Callable[..., AbstractAsyncContextManager[Ledger]]

V1 = """
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
"""As version 0.1.0 made it."""


def write_version_1(path: Path) -> None:
    """A run with one completed, one accepted and one planned invocation."""
    path.parent.mkdir()
    spool = path.with_name(path.name + ".spool")
    spool.mkdir()
    (spool / "00000001.spool").write_bytes(b'{"n": 1}{"n": 2}')
    rows: list[tuple[Any, ...]] = [
        (2, "abcdefgh-000000000002", "abcdefgh/00000000", 2, "application/json", "inline", 8,
         zlib.crc32(b'{"n": 1}'), 1, 0, 5.0, 6.0, "s3://out/2.out", None,
         msgpack.packb([(1, 10, 20, 2, "k1", 8)])),
        (3, "abcdefgh-000000000003", "abcdefgh/00000000", 1, "application/json", "inline", 8,
         zlib.crc32(b'{"n": 2}'), 1, 8, 7.0, None, None, None,
         msgpack.packb([(1, 20, 30, 3, "k2", 8)])),
    ]  # fmt: skip
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(V1)
        facts = [("tag", "abcdefgh"), ("created", "4.0"), ("terms", "{}")]
        db.executemany("INSERT INTO fact VALUES (?, ?)", facts)
        db.execute("INSERT INTO tally VALUES ('completed', 1)")
        db.execute("INSERT INTO sink VALUES ('results', 40, 7, 40)")
        db.execute("INSERT INTO stream VALUES (1, 'a.jsonl', 10, 1)")
        marks = ", ".join("?" * 15)
        db.executemany(f"INSERT INTO invocation VALUES ({marks})", rows)
        db.execute("PRAGMA user_version = 1")


async def test_a_run_of_version_1_goes_on(
    run: Run, path: Path, completed: Callable[[Ledger, Sequence[int]], list[Settlement]]
) -> None:
    write_version_1(path)
    assert read_status(path).accepted == 1, "a look does not need the new version"
    for _ in range(2):  # the second time there is nothing left to bring up
        async with run() as ledger:
            assert ledger.tag == "abcdefgh"
            assert ledger.marks == {"a.jsonl": Mark(10, 1)}
            assert ledger.sink("results") == SinkMark(40, 7, 40)
            two, three = ledger.find(2), ledger.find(3)
            assert two is not None
            assert three is not None
            assert (two.state, two.output, two.attempt) == (State.ACCEPTED, "s3://out/2.out", 1)
            assert (three.state, three.attempt, three.not_before) == (State.PLANNED, 1, None)
            assert [record_ref.key for record_ref in three.record_refs] == ["k2"]
            assert await ledger.payload(three) == b'{"n": 2}'
    async with run() as ledger:
        await ledger.settle(completed(ledger, [2, 3]), {})
        assert ledger.marks == {"a.jsonl": Mark(30, 3)}


async def test_a_new_ledger_has_the_tables_of_one_that_was_brought_up(
    run: Run, path: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old" / "ledger.db"
    write_version_1(old)
    with closing(sqlite3.connect(old)) as db:
        schema.prepare(db, old)
    async with run():
        pass

    def tables(of: Path) -> list[tuple[str, str]]:
        with closing(sqlite3.connect(of)) as db:
            return db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()

    assert tables(path) == tables(old)


@pytest.mark.parametrize("version", [schema.VERSION + 1, 99])
async def test_a_ledger_of_the_future_is_refused_and_left_as_it_is(
    run: Run, path: Path, version: int
) -> None:
    async with run():
        pass
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    with pytest.raises(StateError, match="newer version"):
        async with run():
            pytest.fail("it was opened")
    assert path.read_bytes() == before
