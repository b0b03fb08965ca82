"""Clock of the emulator; tests bring one on which hours pass at once."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Source of the time and of waiting."""

    def now(self) -> float:
        """Return the time in seconds since the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Return ``seconds`` later."""


class WallClock:
    """The clock of the system."""

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Return ``seconds`` later."""
        await asyncio.sleep(seconds)


def iso_time(seconds: float) -> str:
    """Return seconds since the epoch as ``2023-01-29T16:59:09.174Z``."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
