"""Reference counts of the objects in S3 that hold payloads of outstanding invocations.

The location of an object is durable before the object is written, and its deletion is recorded in
the transaction that closes the last invocation which used it. So a crash at any moment leaves no
object that no row knows.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from functools import partial

import anyio

from dispatcher.ledger.group_commit import GroupCommit
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.operations import Deleted, Stage
from dispatcher.ledger.states import State
from dispatcher.ledger.store.sqlite import SqliteStore

PAGE = 1_000
"""Limit of locations of discarded objects in memory; the others are read from the store when their
turn comes."""


class StagedObjects:
    """The objects that a run has staged and not yet deleted.

    Args:
        store: Has the rows of earlier processes.
        group_commit: Writes the changes.
        deletes: Objects are discarded when the last invocation that used them is closed.
    """

    def __init__(self, store: SqliteStore, group_commit: GroupCommit, *, deletes: bool) -> None:
        self._store = store
        self._group_commit = group_commit
        self._deletes = deletes
        self._uses = Counter(e.staged for e in store.entries if e.staged is not None)
        self._fresh: deque[str] = deque()
        self._store_has_more = bool(self._store.discarded("", 1))
        self._after = ""
        self._changed = anyio.Event()

    def is_used(self, location: str) -> bool:
        """Return whether an outstanding invocation has its payload there."""
        return location in self._uses

    async def stage(self, entry: Entry, location: str) -> bool:
        """Store the location of an invocation's payload, durably, before the object is written.

        Returns:
            Whether the invocation is still outstanding.

        Raises:
            StateError: It could not be stored; the object must not be written.
        """
        if entry.state not in (State.PLANNED, State.ACCEPTED):
            return False
        if entry.staged == location:
            return True
        self._uses[location] += 1
        discarded = self._unused([entry.staged] if entry.staged is not None else [])
        entry.staged = location
        await self._group_commit.write(Stage(entry.planned.number, location, discarded))
        self.offer(discarded)
        return True

    def close(self, closed: Iterable[Entry], new: Iterable[Entry] = ()) -> list[str]:
        """Return the objects to discard in the transaction that closes invocations.

        Args:
            closed: Invocations that are over.
            new: Those planned in the same transaction, which go on using what they are staged in.
        """
        self._uses.update(entry.staged for entry in new if entry.staged is not None)
        return self._unused([entry.staged for entry in closed if entry.staged is not None])

    def offer(self, discarded: Sequence[str]) -> None:
        """Release objects for deletion, once their discarding is durable."""
        if not discarded:
            return
        if not self._store_has_more or self._after:  # else they are read with the others
            room = PAGE - len(self._fresh)
            self._fresh.extend(discarded[:room])
            if len(discarded) > room:
                self._store_has_more, self._after = True, ""
        self.wake()

    async def discarded(self) -> list[str]:
        """Return some objects to delete; none when there are none now.

        An object that was not reported as ``deleted`` is not returned again, as a rule, by this
        process.
        """
        while self._store_has_more and not self._fresh:
            page_start = self._after
            page = await self._group_commit.read(partial(self._store.discarded, page_start, PAGE))
            if self._after == page_start:  # else too many came meanwhile: all are read once more
                self._store_has_more = len(page) == PAGE
                self._after = page[-1] if page else ""
            if page:
                return page
        fresh = list(self._fresh)
        self._fresh.clear()
        return fresh

    async def change(self) -> None:
        """Wait for more to delete, or for ``wake``."""
        await self._changed.wait()

    def wake(self) -> None:
        """Wake the task that waits for a change."""
        self._changed.set()
        self._changed = anyio.Event()

    def deleted(self, location: str) -> None:
        """Forget an object that has been deleted.

        It is stored a moment later; a crash before that costs one more deletion, nothing else.
        """
        self._group_commit.later(Deleted(location))

    def _unused(self, locations: Iterable[str]) -> list[str]:
        unused = []
        for location in locations:
            self._uses[location] -= 1
            if not self._uses[location]:
                del self._uses[location]
                unused.append(location)
        return unused if self._deletes else []
