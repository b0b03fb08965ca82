"""The reader of a ledger changes nothing, and refuses a ledger that is in use or none."""

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from dispatcher.errors import ConfigError, StateError
from dispatcher.ledger.check.ledger_snapshot import SinkFile
from dispatcher.ledger.check.read import read_snapshot
from tests.ledger.check.sample_run import QUEUE, Run, keep


def test_everything_is_read(folder: Path) -> None:
    snapshot = read_snapshot(folder / "ledger.db")
    results, dead = (str(folder / name) for name in ("results.jsonl", "dead.jsonl"))
    assert snapshot.broken == []
    assert {("terms", "{}"), ("heads", "{}"), ("finished", "no")} <= set(snapshot.facts)
    assert snapshot.tallies == [
        ("apart", 3),
        ("completed", 31),
        ("dead:bad_json", 3),
        ("dead:model_error", 9),
        ("parts", 6),
    ]
    assert [row[1] for row in snapshot.streams] == ["a.jsonl", "b.jsonl", QUEUE, "c.jsonl"]
    assert [len(snapshot.invocations), snapshot.last_number] == [15, 34]
    assert (snapshot.payloads, snapshot.unknown_files) == ({}, [])
    for name, position, tail_crc, _ in snapshot.sinks:
        assert isinstance(name, str)
        lines = Path(name).read_bytes().count(b"\n")
        assert snapshot.files[name] == SinkFile(position, lines, tail_crc)  # type: ignore[arg-type]
    assert snapshot.files.keys() == {results, dead}


def test_a_table_that_cannot_be_read_is_noted(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "ledger.db")) as db, db:
        db.execute("DROP TABLE tally")
    snapshot = read_snapshot(folder / "ledger.db")
    assert snapshot.broken == ["tallies cannot be read (no such table: tally)"]
    assert snapshot.tallies == []
    assert len(snapshot.invocations) == 15


def test_payloads_and_files_that_are_gone_are_noted(folder: Path) -> None:
    (segment,) = (folder / "ledger.db.spool").iterdir()
    segment.rename(segment.with_name("other.spool"))
    (folder / "dead.jsonl").unlink()
    snapshot = read_snapshot(folder / "ledger.db")
    assert list(snapshot.payloads.values()) == ["missing"] * 15
    assert snapshot.unknown_files == ["other.spool"]
    assert snapshot.files[str(folder / "dead.jsonl")] is None


@pytest.mark.parametrize("content", [b"not a ledger\n" * 100, b"SQLite format 3\0" * 500])
def test_what_is_no_database_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(content)
    with pytest.raises(StateError, match="cannot be read: file is not a database"):
        read_snapshot(path)


async def test_a_ledger_in_use_is_not_checked(tmp_path: Path) -> None:
    async def look(run: Run) -> None:
        with pytest.raises(StateError, match="is in use by a run"):
            read_snapshot(tmp_path / "ledger.db")

    await keep(tmp_path, look)
    assert read_snapshot(tmp_path / "ledger.db").broken == []


def test_a_run_that_began_meanwhile_is_noticed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(*_: object) -> dict[int, str]:
        anyio.run(keep, folder, everything_is_left)
        return {}

    async def everything_is_left(run: Run) -> None:
        assert run.ledger.outstanding == 15

    monkeypatch.setattr("dispatcher.ledger.check.read._payloads", begin)
    with pytest.raises(StateError, match="is in use by a run"):
        read_snapshot(folder / "ledger.db")


def test_no_ledger_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run has begun"):
        read_snapshot(tmp_path / "ledger.db")
    assert list(tmp_path.iterdir()) == []
