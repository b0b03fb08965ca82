"""A bounded amount of something that is taken before the work and given back after it."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class Quota:
    """Bytes or places, shared first come first served.

    A request for more than there is at all takes everything, alone: a single large item must pass.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.free = capacity
        self._waiting: deque[tuple[int, anyio.Event]] = deque()

    @asynccontextmanager
    async def take(self, amount: int) -> AsyncIterator[None]:
        """Hold ``amount`` for the length of the block; wait for it first."""
        amount = min(amount, self.capacity)
        if self._waiting or amount > self.free:
            await self._wait(amount)
        else:
            self.free -= amount
        try:
            yield
        finally:
            self._give(amount)

    async def _wait(self, amount: int) -> None:
        turn = (amount, anyio.Event())
        self._waiting.append(turn)
        try:
            await turn[1].wait()
        except BaseException:
            if turn[1].is_set():  # granted and cancelled at once
                self._give(amount)
            else:
                self._waiting.remove(turn)
                self._grant()
            raise

    def _give(self, amount: int) -> None:
        self.free += amount
        self._grant()

    def _grant(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.free:
            amount, event = self._waiting.popleft()
            self.free -= amount
            event.set()
