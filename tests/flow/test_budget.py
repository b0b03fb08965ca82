"""What is taken comes back, whoever waits, is granted or is cancelled meanwhile."""

import asyncio
from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.flow.budget import MemoryBudget

CAPACITY = 10
Step = tuple[str, int, int]
"""What to do, with what, and how many turns of the loop to let pass afterwards."""

steps = st.one_of(
    st.tuples(st.just("take"), st.integers(0, CAPACITY + 5), st.integers(0, 3)),
    st.tuples(st.just("leave"), st.integers(0, 30), st.integers(0, 3)),
    st.tuples(st.just("cancel"), st.integers(0, 30), st.integers(0, 3)),
)


async def turns(count: int) -> None:
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


class Taker:
    """One task that takes an amount and holds it until told to leave."""

    def __init__(self, quota: MemoryBudget, amount: int) -> None:
        self.quota = quota
        self.amount = amount
        self.inside = False
        self.leave = anyio.Event()
        self.scope = anyio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            async with self.quota.reserve(self.amount):
                self.inside = True
                try:
                    await self.leave.wait()
                finally:
                    self.inside = False
        self.leave.set()

    @property
    def waits(self) -> bool:
        return not self.inside and not self.leave.is_set()


def consistent(quota: MemoryBudget, takers: Sequence[Taker]) -> None:
    """Check what must hold whenever nobody can take another step."""
    held = sum(min(t.amount, CAPACITY) for t in takers if t.inside)
    assert quota.free == CAPACITY - held
    assert quota.free >= 0
    waiting = [number for number, t in enumerate(takers) if t.waits]
    inside = [number for number, t in enumerate(takers) if t.inside]
    if waiting:
        first = takers[waiting[0]]
        assert min(first.amount, CAPACITY) > quota.free
        assert all(number < waiting[0] for number in inside)


async def play(script: Sequence[Step]) -> None:
    quota = MemoryBudget(CAPACITY)
    takers: list[Taker] = []
    async with anyio.create_task_group() as group:
        for word, number, pause in script:
            if word == "take":
                takers.append(Taker(quota, number))
                group.start_soon(takers[-1].run)
            elif takers:
                chosen = takers[number % len(takers)]
                if word == "leave" and chosen.inside:
                    chosen.leave.set()
                elif word == "cancel":
                    chosen.scope.cancel()
            await turns(pause)
            assert 0 <= quota.free <= CAPACITY
            if pause == 3:
                await turns(10)
                consistent(quota, takers)
        await turns(10)
        consistent(quota, takers)
        while any(not t.leave.is_set() for t in takers):
            for taker in takers:
                if taker.inside:
                    taker.leave.set()
            await turns(10)
            consistent(quota, takers)
    assert quota.free == CAPACITY


@given(st.lists(steps, max_size=40))
def test_no_schedule_leaks_overdraws_or_lets_anyone_overtake(script: list[Step]) -> None:
    anyio.run(play, script)


async def test_a_request_beyond_the_capacity_passes_alone() -> None:
    quota = MemoryBudget(CAPACITY)
    small, huge, later = Taker(quota, 1), Taker(quota, 1_000), Taker(quota, 1)
    async with anyio.create_task_group() as group:
        for taker in (small, huge, later):
            group.start_soon(taker.run)
        await turns(10)
        assert [t.inside for t in (small, huge, later)] == [True, False, False]
        small.leave.set()
        await turns(10)
        assert [t.inside for t in (huge, later)] == [True, False]
        assert quota.free == 0
        huge.leave.set()
        await turns(10)
        assert later.inside
        later.leave.set()
    assert quota.free == CAPACITY


async def test_a_small_request_does_not_overtake_a_large_one_that_waits() -> None:
    quota = MemoryBudget(CAPACITY)
    holder, large, small = Taker(quota, 5), Taker(quota, 6), Taker(quota, 1)
    async with anyio.create_task_group() as group:
        for taker in (holder, large, small):
            group.start_soon(taker.run)
        await turns(10)
        assert (large.inside, small.inside) == (False, False)
        large.scope.cancel()
        await turns(10)
        assert small.inside, "who gives up the head of the queue lets the next one pass"
        holder.leave.set()
        small.leave.set()
    assert quota.free == CAPACITY


async def test_what_is_granted_and_cancelled_in_the_same_turn_comes_back() -> None:
    quota = MemoryBudget(CAPACITY)
    waiter = Taker(quota, 4)
    async with quota.reserve(CAPACITY):
        task = asyncio.ensure_future(waiter.run())
        await turns(10)
        assert waiter.waits
    # The grant was made a moment ago, and who got it has not had a turn since.
    assert quota.free == CAPACITY - 4
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert quota.free == CAPACITY


async def test_what_is_held_comes_back_after_an_error() -> None:
    quota = MemoryBudget(CAPACITY)

    async def fail() -> None:
        async with quota.reserve(3):
            assert quota.free == CAPACITY - 3
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert quota.free == CAPACITY
