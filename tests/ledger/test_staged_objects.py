"""Objects in S3 are deleted after their last use, also when a crash comes in between."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from dispatcher.errors import StateError
from dispatcher.ledger import staged_objects as staged
from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.outcome import Settlement
from dispatcher.packing.parcel import Parcel

Run = Callable[..., AbstractAsyncContextManager[Ledger]]
Completed = Callable[[Ledger, Sequence[int]], list[Settlement]]
MakeParcel = Callable[..., Parcel]

HERE, THERE = "s3://b/staged/here", "s3://b/staged/there"


def rows(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [location for (location,) in db.execute("SELECT location FROM discarded")]


async def plan(ledger: Ledger, parcel: MakeParcel, *firsts: int) -> list[Entry]:
    planned: list[Planned] = await ledger.plan([parcel(first) for first in firsts])
    return [entry for p in planned if (entry := ledger.find(p.number)) is not None]


def numbers(entries: Sequence[Entry]) -> list[int]:
    return [entry.planned.number for entry in entries]


async def drained(ledger: Ledger) -> list[str]:
    found: list[str] = []
    while page := await ledger.staged.discarded():
        found += page
    return found


async def test_a_location_is_durable_and_survives(run: Run, parcel: MakeParcel) -> None:
    async with run() as ledger:
        (entry,) = await plan(ledger, parcel, 0)
        await ledger.staged.stage(entry, HERE)
    async with run() as ledger:
        found = ledger.find(entry.planned.number)
        assert found is not None
        assert found.staged == HERE
        assert ledger.staged.is_used(HERE)
        assert await drained(ledger) == []


async def test_the_last_one_that_used_an_object_discards_it(
    run: Run, parcel: MakeParcel, completed: Completed, path: Path
) -> None:
    async with run() as ledger:
        entries = await plan(ledger, parcel, 0, 1)
        for entry in entries:
            await ledger.staged.stage(entry, HERE)
        await ledger.settle(completed(ledger, numbers(entries[:1])), {})
        assert await drained(ledger) == []
        assert ledger.staged.is_used(HERE)
        await ledger.settle(completed(ledger, numbers(entries[1:])), {})
        assert not ledger.staged.is_used(HERE)
        assert rows(path) == [HERE]
        assert await drained(ledger) == [HERE]
        ledger.staged.deleted(HERE)
    assert rows(path) == []


async def test_both_at_once(run: Run, parcel: MakeParcel, completed: Completed) -> None:
    async with run() as ledger:
        entries = await plan(ledger, parcel, 0, 1)
        for entry in entries:
            await ledger.staged.stage(entry, HERE)
        await ledger.settle(completed(ledger, numbers(entries)), {})
        assert await drained(ledger) == [HERE]


async def test_what_a_dead_process_left_is_found(
    run: Run, parcel: MakeParcel, completed: Completed
) -> None:
    async with run() as ledger:
        entries = await plan(ledger, parcel, 0, 1)
        await ledger.staged.stage(entries[0], HERE)
        await ledger.staged.stage(entries[1], THERE)
        await ledger.settle(completed(ledger, numbers(entries)), {})
    async with run() as ledger:
        assert await drained(ledger) == [HERE, THERE]
        assert await drained(ledger) == []


async def test_staging_the_same_again_withdraws_the_deletion(
    run: Run, parcel: MakeParcel, completed: Completed, path: Path
) -> None:
    async with run() as ledger:
        first, second = await plan(ledger, parcel, 0, 1)
        await ledger.staged.stage(first, HERE)
        await ledger.settle(completed(ledger, numbers([first])), {})
        await ledger.staged.stage(second, HERE)
        assert ledger.staged.is_used(HERE)
    assert rows(path) == []


async def test_a_new_attempt_takes_it_over(
    run: Run, parcel: MakeParcel, completed: Completed, path: Path
) -> None:
    async with run() as ledger:
        (entry,) = await plan(ledger, parcel, 0)
        await ledger.staged.stage(entry, HERE)
        ledger.claim(entry)
        (again,) = await ledger.replace(entry, after=0.0)
        assert ledger.staged.is_used(HERE)
        assert rows(path) == []
    async with run() as ledger:
        found = ledger.find(again.number)
        assert found is not None
        assert found.staged == HERE
        await ledger.settle(completed(ledger, [again.number]), {})
        assert await drained(ledger) == [HERE]


async def test_its_parts_do_not(run: Run, parcel: MakeParcel, path: Path) -> None:
    async with run() as ledger:
        (planned,) = await ledger.plan([parcel(0, 3)])
        entry = ledger.find(planned.number)
        assert entry is not None
        await ledger.staged.stage(entry, HERE)
        ledger.claim(entry)
        parts = await ledger.replace(entry, after=0.0, parts=3)
        assert [ledger.find(p.number).staged for p in parts] == [None] * 3  # type: ignore[union-attr]
        assert rows(path) == [HERE]


async def test_another_place_discards_the_first(run: Run, parcel: MakeParcel, path: Path) -> None:
    async with run() as ledger:
        (entry,) = await plan(ledger, parcel, 0)
        await ledger.staged.stage(entry, HERE)
        await ledger.staged.stage(entry, THERE)
        assert rows(path) == [HERE]
        assert await drained(ledger) == [HERE]
        assert ledger.staged.is_used(THERE)


async def test_nothing_is_discarded_where_others_delete(
    run: Run, parcel: MakeParcel, completed: Completed, path: Path
) -> None:
    async with run(deletes_staged=False) as ledger:
        (entry,) = await plan(ledger, parcel, 0)
        await ledger.staged.stage(entry, HERE)
        await ledger.settle(completed(ledger, numbers([entry])), {})
        assert await drained(ledger) == []
    assert rows(path) == []


async def test_more_than_are_held_in_memory_are_all_returned(
    run: Run, parcel: MakeParcel, completed: Completed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staged, "PAGE", 3)
    async with run() as ledger:
        assert await drained(ledger) == []
        entries = await plan(ledger, parcel, *range(20))
        for entry in entries:
            await ledger.staged.stage(entry, f"{HERE}{entry.planned.number:03}")
        await ledger.settle(completed(ledger, numbers(entries[:4])), {})
        await ledger.settle(completed(ledger, numbers(entries[4:])), {})
        pages: list[list[str]] = []
        while page := await ledger.staged.discarded():
            pages.append(page)
            for location in page:
                ledger.staged.deleted(location)
        assert max(map(len, pages)) == 3
        gone = [location for page in pages for location in page]
        assert set(gone) == {f"{HERE}{number:03}" for number in numbers(entries)}
    async with run() as ledger:
        assert await drained(ledger) == []


async def test_more_than_are_held_that_come_while_a_page_is_read_are_all_returned(
    run: Run, parcel: MakeParcel, completed: Completed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staged, "PAGE", 2)
    gone: list[str] = []
    async with run() as ledger:
        entries = await plan(ledger, parcel, *range(9))
        for entry in entries:  # what comes later is below what was read
            await ledger.staged.stage(entry, f"{HERE}{999 - entry.planned.number}")
        settlements = completed(ledger, numbers(entries))

        async def delete() -> None:
            page = await ledger.staged.discarded()
            gone.extend(page)
            for location in page:
                ledger.staged.deleted(location)

        await ledger.settle(settlements[:5], {})
        await delete()
        await delete()
        async with anyio.create_task_group() as group:
            group.start_soon(ledger.settle, settlements[5:], {})
            group.start_soon(delete)
        gone += await drained(ledger)
    assert set(gone) == {f"{HERE}{999 - number}" for number in numbers(entries)}


async def test_nothing_is_written_whose_place_could_not_be_stored(
    run: Run, parcel: MakeParcel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run() as ledger:
        (entry,) = await plan(ledger, parcel, 0)

        def full(*_: Any) -> None:
            raise StateError("the disk is full")

        monkeypatch.setattr(ledger._group_commit._store, "apply", full)
        with pytest.raises(StateError):
            await ledger.staged.stage(entry, HERE)
        monkeypatch.undo()
        with pytest.raises(StateError):  # nothing more is written by this process
            await ledger.staged.stage(entry, THERE)
        ledger._group_commit._failure = None  # so that it can be closed
