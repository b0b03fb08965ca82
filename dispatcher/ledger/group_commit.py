"""Group commit: writers that arrive together share one transaction.

The writer that holds the lock writes for all that wait, so an operation waits at most for the
commit before it.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread

from dispatcher.errors import StateError
from dispatcher.ledger.operations import Operation

FLUSH_SECONDS = 0.05
"""Longest wait for the next commit of an operation that no task waits for."""


_Read = TypeVar("_Read")


class Store(Protocol):
    """A place that a group of operations is committed to."""

    def apply(self, operations: Sequence[Operation]) -> None:
        """Commit a group of operations; blocks."""


class GroupCommit:
    """Commits operations in the order they came, one group at a time, on a worker thread.

    After a failure nothing more is written: memory may be ahead of the disk.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[Operation] = []
        self._lock = anyio.Lock()
        self._failure: StateError | None = None

    def __repr__(self) -> str:
        phase = "failed" if self._failure else "writing" if self._lock.locked() else "idle"
        return f"<GroupCommit {phase}, waiting operations: {self.waiting}>"

    @property
    def waiting(self) -> int:
        """Operations that wait for the next commit."""
        return len(self._waiting)

    def later(self, operation: Operation) -> None:
        """Write an operation with the next group, at most ``FLUSH_SECONDS`` from now."""
        self._waiting.append(operation)

    async def read(self, query: Callable[[], _Read]) -> _Read:
        """Return the result of a query, run on a worker thread while nothing is written."""
        with anyio.CancelScope(shield=True):
            async with self._lock:
                result = await anyio.to_thread.run_sync(query)
        return result

    async def write(self, *operations: Operation) -> None:
        """Write operations, in one transaction with all others that wait; return when it is done.

        Raises:
            StateError: They could not be written.
        """
        self._waiting.extend(operations)
        with anyio.CancelScope(shield=True):
            async with self._lock:
                if self._failure is not None:
                    raise self._failure
                group, self._waiting = self._waiting, []
                if not group:  # the writer that held the lock before wrote ours
                    return
                try:
                    await anyio.to_thread.run_sync(self._store.apply, group)
                except BaseException as error:
                    # Whatever it was: no waiting writer may take its operations for written.
                    self._failure = error if isinstance(error, StateError) else _interrupted(error)
                    raise

    async def flush_forever(self) -> None:
        """Write the operations that no task waits for, until cancelled."""
        while True:
            await anyio.sleep(FLUSH_SECONDS)
            await self.write()

    async def aclose(self) -> None:
        """Write the operations that still wait."""
        if self._failure is None:
            await self.write()


def _interrupted(error: BaseException) -> StateError:
    return StateError(
        f"writing the ledger was interrupted ({error!r}). Run the same command again; everything "
        "so far is kept"
    )
