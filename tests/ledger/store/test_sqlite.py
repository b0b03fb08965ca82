"""Groups of any size are stored in full, and a damaged file is refused with one sentence."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from random import Random
from sqlite3 import connect

import pytest

from dispatcher.errors import StateError
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.operations import Settle, SinkMark
from dispatcher.ledger.outcome import Settlement
from dispatcher.ledger.states import State
from dispatcher.ledger.store.sqlite import _CHUNKS, _chunks
from dispatcher.packing.parcel import Parcel
from tests.ledger.refusal import refused

Run = Callable[..., AbstractAsyncContextManager[Ledger]]
Pack = Callable[..., Parcel]
Completed = Callable[[Ledger, Sequence[int]], list[Settlement]]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 63, 64, 65, 72, 137])
def test_chunks_are_all_rows_in_order_and_of_few_sizes(count: int) -> None:
    rows = list(range(count))
    chunks = list(_chunks(rows))
    assert [row for chunk in chunks for row in chunk] == rows
    assert {len(chunk) for chunk in chunks} <= set(_CHUNKS)


@pytest.mark.parametrize("count", [1, 8, 9, 65, 137])
async def test_a_group_is_found_again_as_it_was_written(
    run: Run,
    parcel: Callable[..., Parcel],
    completed: Callable[[Ledger, Sequence[int]], list[Settlement]],
    count: int,
) -> None:
    numbers = range(1, count + 1)
    async with run() as ledger:
        planned = await ledger.plan([parcel(n) for n in range(count)])
        for invocation in planned[::2]:
            failure = f"s3://out/{invocation.number}-error.out" if invocation.number % 3 else None
            number = invocation.number
            ledger.accept(invocation, number + 0.5, f"s3://out/{number}.out", failure)

    async with run() as ledger:
        for number in numbers:
            entry = ledger.find(number)
            assert entry is not None
            assert entry.record_refs[0].key == f"k{number - 1}"
            assert await ledger.payload(entry) == parcel(number - 1).payload
            if number % 2:
                assert (entry.state, entry.accepted_at) == (State.ACCEPTED, number + 0.5)
                assert entry.output == f"s3://out/{number}.out"
                assert entry.failure == (f"s3://out/{number}-error.out" if number % 3 else None)
            else:
                assert (entry.state, entry.accepted_at) == (State.PLANNED, None)
                assert (entry.output, entry.failure) == (None, None)
        left = numbers[::3]
        await ledger.settle(completed(ledger, [n for n in numbers if n not in left]), {})

    async with run() as ledger:
        assert [n for n in numbers if ledger.find(n)] == list(left)
        assert ledger.tallies.get("completed", 0) == count - len(left)


async def test_what_was_not_planned_cannot_be_settled_with_others(
    run: Run, parcel: Callable[..., Parcel]
) -> None:
    async with run() as ledger:
        planned = await ledger.plan([parcel(n) for n in range(9)])
        entries = [entry for p in planned if (entry := ledger.find(p.number))]
        ledger._store._db.execute("DELETE FROM invocation WHERE number = 5")
        with pytest.raises(StateError, match="9 invocations were to be closed, 8 were there"):
            ledger._store.apply([Settle(entries, {}, {})])


# A damaged file


@pytest.fixture
async def whole(run: Run, path: Path, parcel: Pack, completed: Completed) -> bytes:
    """The file of a run with something of everything in it."""
    async with run() as ledger:
        planned = await ledger.plan([parcel(n * 50, 50) for n in range(40)])
        for invocation in planned[::3]:
            ledger.accept(invocation, 1.5, f"s3://out/{invocation.id}.out", None)
        await ledger.plan([parcel(n, stream="b.jsonl") for n in range(30)])
        await ledger.settle(completed(ledger, range(2, 60, 2)), {"results": SinkMark(9, 9, 9)})
    return path.read_bytes()


@pytest.mark.parametrize(
    "content", [b"not a ledger\n", bytes(range(256)) * 64, b"SQLite format 3\0" * 500, b"\0" * 8192]
)
async def test_another_file_in_its_place(run: Run, path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    message = await refused(run)
    assert "file is not a database" in message
    assert "name a new file in ledger.path" in message
    assert path.read_bytes() == content, "what is not ours is left as it was"


async def test_a_ledger_of_another_version(run: Run, path: Path) -> None:
    async with run():
        pass
    with closing(connect(path)) as db, db:
        db.execute("PRAGMA user_version = 99")
    assert "a ledger of a newer version (schema 99, not 3)" in await refused(run)


async def test_a_database_of_another_program(run: Run, path: Path) -> None:
    path.parent.mkdir()
    with closing(connect(path)) as db, db:
        db.execute("CREATE TABLE photos (name TEXT)")
    assert "a database of something else, not a ledger" in await refused(run)


async def test_a_file_cut_short_anywhere(run: Run, path: Path, whole: bytes) -> None:
    assert len(whole) > 40_000
    # From 2 bytes on: SQLite itself takes a file of one byte for an empty one.
    cuts = [2, 15, 16, 99, 100, 511, 512, 4_095, 4_096, 4_097, *range(5_000, len(whole), 3_001)]
    for cut in cuts:
        path.write_bytes(whole[:cut])
        message = await refused(run)
        assert "It is damaged or not a ledger; restore it from a copy" in message, cut


async def test_random_damage_anywhere(
    run: Run, path: Path, whole: bytes, parcel: Pack, completed: Completed
) -> None:
    """Damage is noticed as such, or the ledger works; nothing else may come out of it."""
    rng = Random(7)
    noticed = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 4, 64])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        if rng.random() < 0.3:
            at = rng.randrange(len(damaged))
            damaged[at : at + 4096] = rng.randbytes(len(damaged[at : at + 4096]))
        for beside in path.parent.glob("ledger.db-*"):
            beside.unlink()
        path.write_bytes(damaged)
        try:
            async with run() as ledger:
                await ledger.plan([parcel(10_000)])
                await ledger.settle(completed(ledger, [ledger._numbers.last]), {})
        except StateError:
            noticed += 1
    assert noticed > 20


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE invocation SET manifest = x'01'",
        "UPDATE invocation SET manifest = x'9196010303040506'",  # an empty span
        "UPDATE invocation SET manifest = x'91960963646566a16b01'",
        "UPDATE invocation SET manifest = x'919601a161a162a163a16b01'",
        "UPDATE invocation SET manifest = 'text'",
        "UPDATE invocation SET state = 9",
        "UPDATE invocation SET state = 'planned'",
        "UPDATE invocation SET segment = 'one'",
        "UPDATE invocation SET planned_at = 'yesterday'",
        "UPDATE stream SET mark = 'start'",
        "UPDATE stream SET id = id + 100",
        "UPDATE settled_range SET stop = 'end'",
        "UPDATE tally SET records = 'many'",
        "UPDATE sink SET position = 'far'",
        "DROP TABLE sink",
        "ALTER TABLE fact RENAME COLUMN value TO worth",
    ],
)
async def test_rows_that_are_not_what_was_written(
    run: Run, path: Path, whole: bytes, change: str
) -> None:
    with closing(connect(path)) as db, db:
        db.execute(change)
    assert "It is damaged or not a ledger" in await refused(run)
