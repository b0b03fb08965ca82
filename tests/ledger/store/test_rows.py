"""A row that is read back is the entry that was written, or an error."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.ledger.invocation import Entry, Planned, RecordRef, SpoolRef
from dispatcher.ledger.states import State
from dispatcher.ledger.store import schema
from dispatcher.ledger.store.rows import (
    COLUMNS,
    INSERT,
    SELECT,
    as_float,
    as_int,
    entry_from_row,
    row_from_entry,
)
from dispatcher.records.record import Position

STREAMS = {"a.jsonl": 1, "b.jsonl": 2}
NAMES = {number: name for name, number in STREAMS.items()}

small = st.integers(0, 2**40)
times = st.floats(0, 1e10)
record_refs = st.builds(
    lambda stream, start, key: RecordRef(Position(stream, start, start + 5, 1), key, 4),
    st.sampled_from(sorted(STREAMS)),
    small,
    st.text() | small,
)
sizes = st.builds(SpoolRef, small, small, small, small)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Return an entry as a store has it before any 202."""
    ref = draw(sizes)
    planned = Planned(
        draw(st.integers(1, 2**60)),
        draw(st.text()),
        draw(st.text()),
        draw(st.text()),
        draw(st.sampled_from(["inline", "s3"])),
        ref.size,
        may_have_been_sent=True,
        encoding=draw(st.sampled_from(["json", "msgpack", "json+zstd"])),
    )
    return Entry(
        planned,
        draw(st.lists(record_refs, max_size=3)),
        ref,
        ref.crc,
        draw(times),
        attempt=draw(st.integers(1, 9)),
        first_attempt=draw(st.integers(1, 9)),
        not_before=draw(st.none() | times),
        staged=draw(st.none() | st.text()),
    )


@pytest.fixture(scope="module")
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        schema.prepare(db, Path("ledger.db"))
        yield db


def stored(db: sqlite3.Connection, entry: Entry) -> tuple[Any, ...]:
    """Write an entry, and return its row as it is selected."""
    row = row_from_entry(entry, STREAMS)
    assert len(row) == COLUMNS
    db.execute("DELETE FROM invocation")
    db.execute(f"{INSERT} VALUES ({', '.join('?' * COLUMNS)})", row)
    (selected,) = db.execute(SELECT).fetchall()
    return tuple(selected)


@given(entries())
def test_an_entry_comes_back_and_may_have_been_sent(db: sqlite3.Connection, entry: Entry) -> None:
    assert entry_from_row(stored(db, entry), NAMES) == entry


def test_an_accepted_entry_comes_back(db: sqlite3.Connection) -> None:
    stored(db, Entry(Planned(1, "i", "s", "t", "inline", 2), [], SpoolRef(1, 0, 2, 3), 3, 1.5))
    db.execute("UPDATE invocation SET state = 2, accepted_at = 2.5, output = 'o', failure = 'f'")
    entry = entry_from_row(db.execute(SELECT).fetchone(), NAMES)
    assert (entry.state, entry.accepted_at) == (State.ACCEPTED, 2.5)
    assert (entry.output, entry.failure) == ("o", "f")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("state", 9),
        ("size", "large"),
        ("crc", None),
        ("planned_at", "yesterday"),
        ("encoding", "morse"),
        ("manifest", "text"),
        ("manifest", b"\x01"),
    ],
)
def test_a_damaged_row_is_an_error(db: sqlite3.Connection, column: str, value: object) -> None:
    entry = Entry(Planned(1, "i", "s", "t", "inline", 2), [], SpoolRef(1, 0, 2, 3), 3, 1.5)
    names = [name.strip() for name in SELECT.split("FROM")[0].replace("SELECT", "").split(",")]
    row = list(stored(db, entry))
    row[names.index(column)] = value
    with pytest.raises((AssertionError, KeyError, TypeError, ValueError)):
        entry_from_row(tuple(row), NAMES)


def test_an_invocation_without_payload_has_no_row() -> None:
    entry = Entry(Planned(1, "i", "s", "t", "inline", 2), [], None, 3, 1.5)
    with pytest.raises(AssertionError, match="payload is lost"):
        row_from_entry(entry, STREAMS)


@pytest.mark.parametrize(("read", "wrong"), [(as_int, 1.0), (as_int, "1"), (as_float, 1)])
def test_numbers_keep_their_kind(read: Any, wrong: object) -> None:
    with pytest.raises(AssertionError):
        read(wrong)
