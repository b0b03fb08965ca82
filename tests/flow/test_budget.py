"""The memory budget: what is taken comes back, whether its task waits, holds or is cancelled."""

import asyncio
from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.flow.budget import BudgetStatistics, MemoryBudget

CAPACITY = 10
Step = tuple[str, int, int]
"""An action, its argument, and the turns of the loop after it."""

steps = st.one_of(
    st.tuples(st.just("take"), st.integers(0, CAPACITY + 5), st.integers(0, 3)),
    st.tuples(st.just("leave"), st.integers(0, 30), st.integers(0, 3)),
    st.tuples(st.just("cancel"), st.integers(0, 30), st.integers(0, 3)),
)


async def turns(count: int) -> None:
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


class Taker:
    """One task that takes an amount and holds it until it is asked to leave."""

    def __init__(self, budget: MemoryBudget, amount: int) -> None:
        self.budget = budget
        self.amount = amount
        self.inside = False
        self.leave = anyio.Event()
        self.scope = anyio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            async with self.budget.reserve(self.amount):
                self.inside = True
                try:
                    await self.leave.wait()
                finally:
                    self.inside = False
        self.leave.set()

    @property
    def waits(self) -> bool:
        return not self.inside and not self.leave.is_set()


def consistent(budget: MemoryBudget, takers: Sequence[Taker]) -> None:
    """Check what must hold whenever no task can take another step."""
    held = sum(min(t.amount, CAPACITY) for t in takers if t.inside)
    assert budget.free == CAPACITY - held
    assert budget.free >= 0
    waiting = [number for number, t in enumerate(takers) if t.waits]
    inside = [number for number, t in enumerate(takers) if t.inside]
    if waiting:
        first = takers[waiting[0]]
        assert min(first.amount, CAPACITY) > budget.free
        assert all(number < waiting[0] for number in inside)


async def play(script: Sequence[Step]) -> None:
    budget = MemoryBudget(CAPACITY)
    takers: list[Taker] = []
    async with anyio.create_task_group() as group:
        for word, number, pause in script:
            if word == "take":
                takers.append(Taker(budget, number))
                group.start_soon(takers[-1].run)
            elif takers:
                chosen = takers[number % len(takers)]
                if word == "leave" and chosen.inside:
                    chosen.leave.set()
                elif word == "cancel":
                    chosen.scope.cancel()
            await turns(pause)
            assert 0 <= budget.free <= CAPACITY
            if pause == 3:
                await turns(10)
                consistent(budget, takers)
        await turns(10)
        consistent(budget, takers)
        while any(not t.leave.is_set() for t in takers):
            for taker in takers:
                if taker.inside:
                    taker.leave.set()
            await turns(10)
            consistent(budget, takers)
    assert budget.free == CAPACITY


@given(st.lists(steps, max_size=40))
def test_no_schedule_leaks_overdraws_or_lets_anyone_overtake(script: list[Step]) -> None:
    anyio.run(play, script)


async def test_a_request_beyond_the_capacity_passes_alone() -> None:
    budget = MemoryBudget(CAPACITY)
    small, huge, later = Taker(budget, 1), Taker(budget, 1_000), Taker(budget, 1)
    async with anyio.create_task_group() as group:
        for taker in (small, huge, later):
            group.start_soon(taker.run)
        await turns(10)
        assert [t.inside for t in (small, huge, later)] == [True, False, False]
        small.leave.set()
        await turns(10)
        assert [t.inside for t in (huge, later)] == [True, False]
        assert budget.free == 0
        huge.leave.set()
        await turns(10)
        assert later.inside
        later.leave.set()
    assert budget.free == CAPACITY


async def test_a_small_request_does_not_overtake_a_large_one_that_waits() -> None:
    budget = MemoryBudget(CAPACITY)
    holder, large, small = Taker(budget, 5), Taker(budget, 6), Taker(budget, 1)
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
    assert budget.free == CAPACITY


async def test_what_is_granted_and_cancelled_in_the_same_turn_comes_back() -> None:
    budget = MemoryBudget(CAPACITY)
    waiter = Taker(budget, 4)
    async with budget.reserve(CAPACITY):
        task = asyncio.ensure_future(waiter.run())
        await turns(10)
        assert waiter.waits
    # The grant was made a moment ago, and who got it has not had a turn since.
    assert budget.free == CAPACITY - 4
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert budget.free == CAPACITY


async def test_what_is_held_comes_back_after_an_error() -> None:
    budget = MemoryBudget(CAPACITY)

    async def fail() -> None:
        async with budget.reserve(3):
            assert budget.free == CAPACITY - 3
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert budget.free == CAPACITY


async def test_a_budget_shows_its_state() -> None:
    budget = MemoryBudget(CAPACITY)
    taker, waiter = Taker(budget, 7), Taker(budget, 5)
    async with anyio.create_task_group() as group:
        group.start_soon(taker.run)
        group.start_soon(waiter.run)
        await turns(3)
        assert budget.statistics() == BudgetStatistics(capacity=CAPACITY, free=3, waiting=1)
        assert repr(budget) == "<MemoryBudget 3 of 10 free, 1 waiting>"
        taker.leave.set()
        await turns(3)
        assert budget.statistics() == BudgetStatistics(capacity=CAPACITY, free=5, waiting=0)
        waiter.leave.set()
    assert repr(budget) == "<MemoryBudget 10 of 10 free, 0 waiting>"
