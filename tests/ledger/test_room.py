"""Who waits for room, and for how long."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import anyio
import anyio.lowlevel
import pytest

from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.outcome import Settlement
from dispatcher.packing.parcel import Parcel

Run = Callable[..., AbstractAsyncContextManager[Ledger]]
Pack = Callable[..., Parcel]
Completed = Callable[[Ledger, Sequence[int]], list[Settlement]]


async def test_planning_waits_from_the_high_to_the_low_mark(
    run: Run, parcel: Pack, completed: Completed
) -> None:
    async with run(outstanding=40) as ledger:
        planned = await ledger.plan([parcel(n) for n in range(await ledger.wait_for_room(100))])
        assert len(planned) == 40
        rooms: list[int] = []

        async def ask() -> None:
            rooms.append(await ledger.wait_for_room(100))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await ledger.settle(completed(ledger, [1]), {})
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            assert rooms == [], "one place is not worth a transaction"
            await ledger.settle(completed(ledger, [2]), {})
        assert rooms == [2]


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_a_narrow_ledger_never_waits_for_ever(
    run: Run, parcel: Pack, completed: Completed, limit: int
) -> None:
    async with run(outstanding=limit) as ledger:
        for first in range(5):
            planned = await ledger.plan([parcel(first * limit + n) for n in range(limit)])
            await ledger.settle(completed(ledger, [one.number for one in planned]), {})
            with anyio.fail_after(5):
                assert await ledger.wait_for_room(9) == limit
