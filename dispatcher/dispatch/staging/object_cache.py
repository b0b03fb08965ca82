"""What this process knows of the objects it staged, and who is busy with which of them."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

_MOST_KNOWN = 10_000
"""Objects that are remembered to be there; of the others it is found out."""

KNOWN_SECONDS = 3_600.0
"""How long an object is taken to be there once it was written: a lifecycle rule, whose days count
from then, takes a day at least."""


@dataclass(slots=True)
class _Turn:
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    users: int = 0


class ObjectCache:
    """Objects by their locations.

    Args:
        monotonic: Seconds on a steady clock.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._turns: dict[str, _Turn] = {}
        self._seen: OrderedDict[str, float] = OrderedDict()

    @asynccontextmanager
    async def alone(self, location: str) -> AsyncIterator[None]:
        """Be the only one that is busy with an object, for the length of the block."""
        turn = self._turns.setdefault(location, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[location]

    def is_known(self, location: str) -> bool:
        """Return whether an object is there, as far as anybody has to ask."""
        return self._monotonic() - self._seen.get(location, float("-inf")) < KNOWN_SECONDS

    def wrote(self, location: str) -> None:
        """Note that an object was written."""
        self._seen[location] = self._monotonic()
        self._seen.move_to_end(location)
        if len(self._seen) > _MOST_KNOWN:
            self._seen.popitem(last=False)

    def forget(self, location: str) -> None:
        """Note that an object may not be there any more."""
        self._seen.pop(location, None)
