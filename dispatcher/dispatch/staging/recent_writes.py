"""Staged objects that this process wrote in the last hour, and a lock for each in use."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

_MAX_KNOWN = 10_000
"""Objects that are remembered as there; the others are looked for."""

KNOWN_SECONDS = 3_600.0
"""Seconds that an object counts as there after it was written: a lifecycle rule, whose days count
from then, takes a day at least."""


@dataclass(slots=True)
class _Lock:
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    users: int = 0


class RecentWrites:
    """Objects by their locations.

    Args:
        monotonic: Seconds on a steady clock.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._locks: dict[str, _Lock] = {}
        self._seen: OrderedDict[str, float] = OrderedDict()

    @asynccontextmanager
    async def lock(self, location: str) -> AsyncIterator[None]:
        """Hold the lock of an object for the length of the block."""
        entry = self._locks.setdefault(location, _Lock())
        entry.users += 1
        try:
            async with entry.lock:
                yield
        finally:
            entry.users -= 1
            if not entry.users:
                del self._locks[location]

    def is_known(self, location: str) -> bool:
        """Return whether an object was written so recently that it counts as there."""
        return self._monotonic() - self._seen.get(location, float("-inf")) < KNOWN_SECONDS

    def wrote(self, location: str) -> None:
        """Note that an object was written."""
        self._seen[location] = self._monotonic()
        self._seen.move_to_end(location)
        if len(self._seen) > _MAX_KNOWN:
            self._seen.popitem(last=False)

    def forget(self, location: str) -> None:
        """Note that an object may not be there any more."""
        self._seen.pop(location, None)
