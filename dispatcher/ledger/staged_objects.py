"""Which objects in S3 hold payloads of outstanding invocations, and which nobody needs any more.

Where an object is to lie is durable before it is written, and that it is to be deleted is stored in
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
"""Most locations of discarded objects in memory; the others are read from the file when their turn
comes."""


class StagedObjects:
    """The objects that a run has staged, as far as its ledger has to know them.

    Args:
        store: Has the rows of earlier processes.
        commits: Writes.
        deletes: Objects are discarded when the last invocation that used them is closed.
    """

    def __init__(self, store: SqliteStore, commits: GroupCommit, *, deletes: bool) -> None:
        self._store = store
        self._commits = commits
        self._deletes = deletes
        self._uses = Counter(e.staged for e in store.entries if e.staged is not None)
        self._fresh: deque[str] = deque()
        self._is_behind = bool(self._store.discarded("", 1))
        self._after = ""
        self._changed = anyio.Event()

    def is_used(self, location: str) -> bool:
        """Return whether an outstanding invocation has its payload there."""
        return location in self._uses

    async def stage(self, entry: Entry, location: str) -> bool:
        """Make it durable that the payload of an invocation is going to lie there.

        Returns:
            Whether the invocation is still outstanding.

        Raises:
            StateError: It could not be stored; nothing may be written there.
        """
        if entry.state not in (State.PLANNED, State.ACCEPTED):
            return False
        if entry.staged == location:
            return True
        self._uses[location] += 1
        gone = self._unused([entry.staged] if entry.staged is not None else [])
        entry.staged = location
        await self._commits.write(Stage(entry.planned.number, location, gone))
        self.offer(gone)
        return True

    def close(self, closed: Iterable[Entry], new: Iterable[Entry] = ()) -> list[str]:
        """Return what is to be discarded in the transaction that closes invocations.

        Args:
            closed: Invocations that are over.
            new: Those planned in the same transaction, which go on using what they are staged in.
        """
        self._uses.update(entry.staged for entry in new if entry.staged is not None)
        return self._unused([entry.staged for entry in closed if entry.staged is not None])

    def offer(self, discarded: Sequence[str]) -> None:
        """Let objects be deleted; that they are discarded is durable now."""
        if not discarded:
            return
        if not self._is_behind or self._after:  # else they are read with the others
            room = PAGE - len(self._fresh)
            self._fresh.extend(discarded[:room])
            if len(discarded) > room:
                self._is_behind, self._after = True, ""
        self.wake()

    async def discarded(self) -> list[str]:
        """Return some objects that are to be deleted; nothing when there are none now.

        One that was not reported as ``deleted`` is not returned again, as a rule, by this process.
        """
        while self._is_behind and not self._fresh:
            began = self._after
            page = await self._commits.read(partial(self._store.discarded, began, PAGE))
            if self._after == began:  # else too many came meanwhile: all are read once more
                self._is_behind = len(page) == PAGE
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
        """Let who waits for a change look."""
        self._changed.set()
        self._changed = anyio.Event()

    def deleted(self, location: str) -> None:
        """Forget an object that is gone.

        It is stored a moment later; losing that costs one more deletion, nothing else.
        """
        self._commits.later(Deleted(location))

    def _unused(self, locations: Iterable[str]) -> list[str]:
        unused = []
        for location in locations:
            self._uses[location] -= 1
            if not self._uses[location]:
                del self._uses[location]
                unused.append(location)
        return unused if self._deletes else []
