"""Time as the emulator sees it, so that tests can let hours pass at once."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> float:
        """Return the time in seconds since the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Return ``seconds`` later."""


class WallClock:
    """The real time."""

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Return ``seconds`` later."""
        await asyncio.sleep(seconds)
