"""The status of a run, read from its ledger without disturbing it."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from sqlite3 import connect

import pytest

from dispatcher.errors import ConfigError, StateError
from dispatcher.ledger.check.status import LedgerStatus, read_status
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.operations import SinkMark
from dispatcher.ledger.outcome import Settlement
from dispatcher.ledger.payloads.spool import Spool
from dispatcher.ledger.store.sqlite import SqliteStore
from dispatcher.packing.parcel import Parcel
from dispatcher.reasons import Reason

Run = Callable[..., AbstractAsyncContextManager[Ledger]]
Pack = Callable[..., Parcel]
Completed = Callable[[Ledger, Sequence[int]], list[Settlement]]


async def test_a_run_is_shown_while_it_goes_on_and_after_it(
    run: Run,
    path: Path,
    parcel: Pack,
    completed: Completed,
    dead: Callable[..., Settlement],
) -> None:
    async with run() as ledger:
        await ledger.remember(terms='{"sink.path": "r.jsonl", "dead_letters.path": "d.jsonl"}')
        planned = await ledger.plan([parcel(0, 3), parcel(3, 2), parcel(5)])
        ledger.accept(planned[1], 1.5, None, None)
        await ledger.settle(
            [
                *completed(ledger, [3]),
                dead(6),
                dead(7),
                dead(0, Reason.TOO_LARGE, stream="b.jsonl"),
            ],
            {"r.jsonl": SinkMark(44, 1, 44), "d.jsonl": SinkMark(99, 1, 99)},
        )
        status = read_status(path)
        assert status == LedgerStatus(
            run_tag=ledger.tag,
            created=1_000.5,
            read=9,
            completed=1,
            dead=3,
            dead_reasons={"bad_json": 2, "too_large": 1},
            planned=1,
            accepted=1,
            outstanding_records=5,
            oldest_planned=1_000.5,
            marks=[("a.jsonl", 0, 0), ("b.jsonl", 10, 1)],
            results_bytes=44,
            dead_letter_bytes=99,
            repeated=0,
            split=0,
            parts=0,
            running=True,
            finished=False,
        )
        await ledger.settle(completed(ledger, [1, 2]), {})
        await ledger.remember(finished="yes")
    status = read_status(path)
    assert (status.running, status.finished) == (False, True)
    assert (status.read, status.completed, status.dead) == (9, 6, 3)
    assert (status.planned, status.accepted, status.outstanding_records) == (0, 0, 0)
    assert status.oldest_planned is None
    assert status.marks == [("a.jsonl", 80, 8), ("b.jsonl", 10, 1)]


async def test_a_run_that_goes_on_is_not_finished_any_more(run: Run, path: Path) -> None:
    async with run() as ledger:
        await ledger.remember(finished="yes")
        assert read_status(path).finished
        await ledger.remember(finished="no")
        assert not read_status(path).finished


async def test_reading_takes_nothing_from_the_run(run: Run, path: Path, parcel: Pack) -> None:
    async with run() as ledger:
        for first in range(20):
            await ledger.plan([parcel(first)])
            assert read_status(path).planned == first + 1
    async with run() as ledger:
        assert ledger.outstanding == 20


def test_a_process_killed_in_the_middle_is_shown_as_not_running(path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], capture_output=True, text=True, check=False
    )
    assert child.returncode == -9, child.stderr
    status = read_status(path)
    assert (status.running, status.finished, status.planned, status.read) == (False, False, 1, 1)


KILLED = """
import os, sys
from pathlib import Path
import anyio
from dispatcher.ledger.open import open_ledger
from dispatcher.packing.parcel import Parcel
from dispatcher.reasons import Reason
from dispatcher.records.record import Position, Record
from tests.payloads import codec

async def main():
    async with open_ledger(Path(sys.argv[1]), codec=codec("none")) as ledger:
        record = Record(Position("a.jsonl", 0, 2, 1), "k", b"1")
        await ledger.plan([Parcel([record], b"1", "application/json", "inline")])
        os.kill(os.getpid(), 9)

anyio.run(main)
"""


def test_no_ledger_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    for nothing in (tmp_path / "none.db", tmp_path, tmp_path / "no" / "folder.db"):
        with pytest.raises(ConfigError, match=f"there is no ledger at {nothing}: no run has begun"):
            read_status(nothing)
    assert list(tmp_path.iterdir()) == [], "asking makes no files"


def test_a_ledger_without_a_name_is_not_begun(path: Path) -> None:
    path.parent.mkdir()
    with SqliteStore(path, Spool(path.with_name("ledger.db.spool")), "full"):
        pass
    with pytest.raises(ConfigError, match="no run has begun"):
        read_status(path)


@pytest.mark.parametrize("content", [b"", b"not a ledger", b"SQLite format 3\0" * 500])
def test_another_file_is_a_sentence(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StateError, match=r"ledger\.db cannot be read: "):
        read_status(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("manifest", [b"", b"\x01", b"\x91\x01", b"\xff" * 9])
async def test_a_damaged_manifest_is_a_sentence(
    run: Run, path: Path, parcel: Pack, manifest: bytes
) -> None:
    async with run() as ledger:
        await ledger.plan([parcel(0)])
    with closing(connect(path)) as db, db:
        db.execute("UPDATE invocation SET manifest = ?", (manifest,))
    with pytest.raises(StateError, match="a row is damaged"):
        read_status(path)
    with pytest.raises(StateError, match="a row is damaged"):
        async with run():
            pytest.fail("a damaged ledger was opened")
