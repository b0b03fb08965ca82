"""Groups of any size are stored as if each invocation had been written for itself."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from dispatcher.errors import StateError
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.operations import Settle
from dispatcher.ledger.outcome import Settlement
from dispatcher.ledger.states import State
from dispatcher.ledger.store.sqlite import _CHUNKS, _chunks
from dispatcher.packing.parcel import Parcel

Run = Callable[..., AbstractAsyncContextManager[Ledger]]


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
        for one in planned[::2]:
            failure = f"s3://out/{one.number}-error.out" if one.number % 3 else None
            ledger.accept(one, one.number + 0.5, f"s3://out/{one.number}.out", failure)

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
        kept = numbers[::3]
        await ledger.settle(completed(ledger, [n for n in numbers if n not in kept]), {})

    async with run() as ledger:
        assert [n for n in numbers if ledger.find(n)] == list(kept)
        assert ledger.tallies.get("completed", 0) == count - len(kept)


async def test_what_was_not_planned_cannot_be_settled_with_others(
    run: Run, parcel: Callable[..., Parcel]
) -> None:
    async with run() as ledger:
        planned = await ledger.plan([parcel(n) for n in range(9)])
        entries = [entry for one in planned if (entry := ledger.find(one.number))]
        ledger._store._db.execute("DELETE FROM invocation WHERE number = 5")
        with pytest.raises(StateError, match="9 invocations were to be closed, 8 were there"):
            ledger._store.apply([Settle(entries, {}, {})])


async def test_payloads_stay_in_memory_only_until_they_are_asked_for(
    run: Run, parcel: Callable[..., Parcel], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(parcel(0).payload)
    monkeypatch.setattr("dispatcher.ledger.payloads.payloads._MAX_FRESH_BYTES", 2 * size)
    async with run() as ledger:
        planned = await ledger.plan([parcel(n) for n in range(3)])
        entries = [entry for one in planned if (entry := ledger.find(one.number))]
        assert ledger._payloads.fresh_bytes == 2 * size
        for _ in range(2):
            for n, entry in enumerate(entries):
                assert await ledger.payload(entry) == parcel(n).payload
            assert (ledger._payloads._fresh, ledger._payloads.fresh_bytes) == ({}, 0)
