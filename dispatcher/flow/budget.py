"""The memory budget: a bounded amount, reserved before the work and released after it."""

from collections import deque
from dataclasses import dataclass
from types import TracebackType

import anyio


@dataclass(frozen=True, slots=True)
class BudgetStatistics:
    """The state of a budget at one moment.

    Attributes:
        capacity: The whole budget, in its own unit (bytes or places).
        free: The part that is not held, in the same unit.
        waiting: Number of requests that wait for their turn.
    """

    capacity: int
    free: int
    waiting: int


class MemoryBudget:
    """Bytes or places, shared first come first served.

    A request above the whole capacity takes all of it: a single large item must pass.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.free = capacity
        self._waiting: deque[tuple[int, anyio.Event]] = deque()

    def __repr__(self) -> str:
        return f"<MemoryBudget {self.free} of {self.capacity} free, {len(self._waiting)} waiting>"

    def statistics(self) -> BudgetStatistics:
        """Return the budget's state now."""
        return BudgetStatistics(self.capacity, self.free, len(self._waiting))

    def reserve(self, amount: int) -> "Reservation":
        """Return a block that holds ``amount``; entering it waits for that."""
        return Reservation(self, amount)

    async def acquire(self, amount: int) -> int:
        """Wait for ``amount``, capped at the capacity; return the amount to release."""
        amount = min(amount, self.capacity)
        if self._waiting or amount > self.free:
            await self._wait(amount)
        else:
            self.free -= amount
        return amount

    def release(self, amount: int) -> None:
        """Give back an acquired amount."""
        self.free += amount
        self._grant()

    async def _wait(self, amount: int) -> None:
        turn = (amount, anyio.Event())
        self._waiting.append(turn)
        try:
            await turn[1].wait()
        except BaseException:
            if turn[1].is_set():  # granted and cancelled at once
                self.release(amount)
            else:
                self._waiting.remove(turn)
                self._grant()
            raise

    def _grant(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.free:
            amount, event = self._waiting.popleft()
            self.free -= amount
            event.set()


class Reservation:
    """An amount held from a budget, for the length of a block or until its release.

    A class, because a generator for each record would cost as much as the record's signature.
    """

    __slots__ = ("_budget", "_held", "_wanted")

    def __init__(self, budget: MemoryBudget, wanted: int = 0) -> None:
        self._budget = budget
        self._wanted = wanted
        self._held = 0

    async def acquire(self, amount: int) -> None:
        """Hold this much more; wait for it first."""
        self._held += await self._budget.acquire(amount)

    def release(self) -> None:
        """Give everything back; harmless when repeated."""
        held, self._held = self._held, 0
        if held:
            self._budget.release(held)

    async def __aenter__(self) -> None:
        """Acquire the amount of the block."""
        await self.acquire(self._wanted)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give everything back."""
        self.release()
