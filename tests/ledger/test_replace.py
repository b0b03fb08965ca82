"""A new attempt takes the place of an old one in one transaction, and keeps its payload."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from dispatcher.ledger.intent import Entry
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.recall import Known
from dispatcher.ledger.settlement import Settlement
from dispatcher.ledger.states import State
from dispatcher.packing.parcel import Parcel
from dispatcher.sources.record import Position

Run = Callable[..., AbstractAsyncContextManager[Ledger]]
Pack = Callable[..., Parcel]
Completed = Callable[[Ledger, Sequence[int]], list[Settlement]]


async def failed(ledger: Ledger, parcel: Parcel) -> Entry:
    """Plan an invocation that is accepted and fails."""
    (planned,) = await ledger.plan([parcel])
    ledger.accept(planned, 5.0, "s3://out/1.out", "s3://out/1-error.out")
    entry = ledger.find(planned.number)
    assert entry is not None
    assert ledger.claim(entry)
    return entry


async def test_the_new_attempt_is_an_invocation_of_its_own(run: Run, parcel: Pack) -> None:
    async with run(now=lambda: 100.0) as ledger:
        old = await failed(ledger, parcel(0, 3))
        (planned,) = await ledger.replace(old, after=30.0)
        new = ledger.find(planned.number)
        assert new is not None
        assert planned.id != old.planned.id
        assert planned.number > old.planned.number
        assert (new.attempt, new.not_before, new.state) == (2, 130.0, State.PLANNED)
        assert (new.accepted_at, new.output, new.failure, new.acks) == (None, None, None, None)
        assert new.slips == old.slips
        assert await ledger.payload(new) == parcel(0, 3).payload
        assert ledger.outstanding == 1


async def test_what_is_heard_late_of_the_old_attempt_changes_nothing(
    run: Run, parcel: Pack
) -> None:
    async with run() as ledger:
        old = await failed(ledger, parcel(0))
        (planned,) = await ledger.replace(old, after=0.0)
        assert ledger.find_id(old.planned.id) == (True, None)
        assert not ledger.accept(old.planned, 9.0, "s3://elsewhere", None)
        assert not ledger.claim(old)
        new = ledger.find(planned.number)
        assert new is not None
        assert new.state is State.PLANNED


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_attempts_are_counted_over_restarts(
    run: Run, parcel: Pack, completed: Completed, attempts: int
) -> None:
    async with run() as ledger:
        await failed(ledger, parcel(0, 2))
    for attempt in range(2, attempts + 2):
        async with run() as ledger:
            (entry,) = ledger._entries.values()
            assert entry.attempt == attempt - 1
            ledger.claim(entry)
            await ledger.replace(entry, after=1.0)
    async with run() as ledger:
        (planned,) = ledger.resumed
        entry = ledger._entries[planned.number]
        assert entry.attempt == attempts + 1
        assert await ledger.payload(entry) == parcel(0, 2).payload
        assert ledger.recall.know(Position("a.jsonl", 0, 10, 1)) == (Known.BEHIND, None)
        await ledger.settle(completed(ledger, [planned.number]), {})
        assert ledger.tallies == {}, "as it was at the start"
    async with run() as ledger:
        assert (ledger.outstanding, ledger.tallies) == (0, {"completed": 2})
        assert ledger._spool.size == 0


async def test_the_payload_of_a_replaced_invocation_is_released_with_the_last_attempt(
    run: Run, parcel: Pack, completed: Completed
) -> None:
    async with run() as ledger:
        old = await failed(ledger, parcel(0))
        (planned,) = await ledger.replace(old, after=0.0)
        assert old.payload is not None
        segment = old.payload.segment
        assert ledger._spool._live[segment] == 1
        await ledger.settle(completed(ledger, [planned.number]), {})
        assert ledger._spool._live[segment] == 0
