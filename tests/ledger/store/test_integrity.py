"""A database with the log of a later process beside it is refused, however well it reads."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from random import Random
from sqlite3 import connect

import pytest

from dispatcher.errors import StateError
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.outcome import Settlement
from dispatcher.packing.parcel import Parcel

Run = Callable[..., AbstractAsyncContextManager[Ledger]]
Pack = Callable[..., Parcel]
Completed = Callable[[Ledger, Sequence[int]], list[Settlement]]


async def settle_some(ledger: Ledger, completed: Completed, count: int, rng: Random) -> None:
    numbers = sorted(ledger._entries)
    await ledger.settle(completed(ledger, rng.sample(numbers, count)), {})


@pytest.mark.parametrize("later", [(0, 1), (3, 2), (60, 40)])
async def test_a_database_from_a_copy_under_a_later_log(
    run: Run, path: Path, parcel: Pack, completed: Completed, later: tuple[int, int]
) -> None:
    """It is refused, unless the log has every page that changed since the copy."""
    planned, settled = later
    copy, log = path.with_name("copy.db"), path.with_name("ledger.db-wal")
    refused = 0
    for seed in range(4):
        rng = Random(seed)
        async with run(outstanding=2_000) as ledger:
            await ledger.plan([parcel(n) for n in range(600)])
            await settle_some(ledger, completed, 250, rng)
        shutil.copy(path, copy)
        async with run(outstanding=2_000) as ledger:
            await ledger.plan([parcel(n) for n in range(600, 800)])
            await settle_some(ledger, completed, 250, rng)
        async with run(outstanding=2_000) as ledger:
            await ledger.plan([parcel(n) for n in range(800, 800 + planned)])
            await settle_some(ledger, completed, settled, rng)
            newer, outstanding = log.read_bytes(), set(ledger._entries)
        shutil.copy(copy, path)
        log.write_bytes(newer)
        try:
            async with run() as ledger:
                assert set(ledger._entries) == outstanding
        except StateError as error:
            assert "It is damaged or not a ledger" in str(error)  # noqa: PT017 - some are refused
            refused += 1
        shutil.rmtree(path.parent)
    assert refused >= 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE stream SET mark = 10, line = 1", "at 0 of a.jsonl is outstanding and settled"),
        (
            "UPDATE invocation SET manifest = (SELECT manifest FROM invocation LIMIT 1)",
            "at 0 of a.jsonl is outstanding twice",
        ),
    ],
)
async def test_records_in_two_places(
    run: Run, path: Path, parcel: Pack, change: str, message: str
) -> None:
    async with run() as ledger:
        await ledger.plan([parcel(n) for n in range(2)])
    with closing(connect(path)) as db, db:
        db.execute(change)
    with pytest.raises(StateError, match=message):
        async with run():
            pytest.fail("a damaged ledger was opened")
