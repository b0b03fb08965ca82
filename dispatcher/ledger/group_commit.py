"""Group commit: writers that come at the same time share a transaction.

The writer that holds the lock writes for all that wait, so a group waits at most for the commit
before it.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread

from dispatcher.errors import StateError
from dispatcher.ledger.operations import Operation

FLUSH_SECONDS = 0.05
"""How long an operation that nobody waits for may wait for a commit to travel with."""


_Read = TypeVar("_Read")


class Store(Protocol):
    """What can be written on."""

    def apply(self, operations: Sequence[Operation]) -> None:
        """Commit a group of operations; blocks."""


class GroupCommit:
    """Writes operations in the order they came, one group at a time, on a worker thread.

    After a failure nothing more is written: what is in memory may be ahead of the disk.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[Operation] = []
        self._turn = anyio.Lock()
        self._failure: StateError | None = None

    def later(self, operation: Operation) -> None:
        """Write an operation with the next group, at most ``FLUSH_SECONDS`` from now."""
        self._waiting.append(operation)

    async def read(self, look: Callable[[], _Read]) -> _Read:
        """Return what a function reads on a worker thread, while nobody writes."""
        with anyio.CancelScope(shield=True):
            async with self._turn:
                seen = await anyio.to_thread.run_sync(look)
        return seen

    async def write(self, *operations: Operation) -> None:
        """Write operations, in one transaction with all others that wait; return when it is done.

        Raises:
            StateError: They could not be written.
        """
        self._waiting.extend(operations)
        with anyio.CancelScope(shield=True):
            async with self._turn:
                if self._failure is not None:
                    raise self._failure
                group, self._waiting = self._waiting, []
                if not group:  # whoever held the commits before wrote ours
                    return
                try:
                    await anyio.to_thread.run_sync(self._store.apply, group)
                except BaseException as error:
                    # Whatever it was: nobody who waits may take their share for written.
                    self._failure = error if isinstance(error, StateError) else _broken(error)
                    raise

    async def flush_forever(self) -> None:
        """Write what nobody waits for, until cancelled."""
        while True:
            await anyio.sleep(FLUSH_SECONDS)
            await self.write()

    async def aclose(self) -> None:
        """Write what is left."""
        if self._failure is None:
            await self.write()


def _broken(error: BaseException) -> StateError:
    return StateError(
        f"writing the ledger was broken off ({error!r}). Run the same command again; everything "
        "so far is kept"
    )
