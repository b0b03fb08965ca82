"""A bounded amount of something that is taken before the work and given back after it."""

from collections import deque
from types import TracebackType

import anyio


class MemoryBudget:
    """Bytes or places, shared first come first served.

    A request for more than there is at all takes everything, alone: a single large item must pass.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.free = capacity
        self._waiting: deque[tuple[int, anyio.Event]] = deque()

    def reserve(self, amount: int) -> "Reservation":
        """Hold ``amount`` for the length of the block; wait for it first."""
        return Reservation(self, amount)

    async def acquire(self, amount: int) -> int:
        """Wait for ``amount``; return how much that is, which has to be given back."""
        amount = min(amount, self.capacity)
        if self._waiting or amount > self.free:
            await self._wait(amount)
        else:
            self.free -= amount
        return amount

    def release(self, amount: int) -> None:
        """Give back what was acquired."""
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
    """What is held of a budget, for the length of a block or until it is given back.

    A class, because a generator for each record would cost as much as the record's signature.
    """

    __slots__ = ("_budget", "_held", "_wanted")

    def __init__(self, budget: MemoryBudget, wanted: int = 0) -> None:
        self._budget = budget
        self._wanted = wanted
        self._held = 0

    async def acquire(self, amount: int) -> None:
        """Hold so much more; wait for it first."""
        self._held += await self._budget.acquire(amount)

    def release(self) -> None:
        """Hold nothing; harmless when repeated."""
        held, self._held = self._held, 0
        if held:
            self._budget.release(held)

    async def __aenter__(self) -> None:
        """Take what is wanted for the block."""
        await self.acquire(self._wanted)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give it back."""
        self.release()
