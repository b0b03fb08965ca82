"""Cleanup: staged objects that no invocation needs any more are deleted in the background.

What has to be deleted is in the ledger until it is gone, so a crash leaves nothing behind that the
next process does not delete.
"""

import logging
from collections.abc import Iterator
from typing import Protocol

import anyio

from dispatcher import failpoints
from dispatcher.aws.location import parse_location
from dispatcher.aws.requests import Location
from dispatcher.dispatch.staging.recent_writes import RecentWrites
from dispatcher.errors import CallError, Denied, Rejected
from dispatcher.ledger.staged_objects import StagedObjects
from dispatcher.observe.events import Observer, PayloadStaged, StagingAction

_log = logging.getLogger(__name__)

_CONCURRENCY = 8
"""Deletions under way together."""

_ALLOW = "Allow s3:DeleteObject there, or set staging.delete"

_PAUSES_SECONDS = (0.5, 2.0, 8.0, 30.0)
"""Waits before repeated deletions; after the last the object is left to the next process."""


class Remover(Protocol):
    """Deletes objects."""

    async def delete(self, location: Location) -> None:
        """Delete an object; one that does not exist is no error."""


class StagedObjectCleanup:
    """Deletes what the ledger has discarded.

    Args:
        staged: The ledger's staged objects.
        remover: S3.
        cache: Locks objects, and knows which are there; shared with the stagers.
        observe: Gets the events.
        is_enabled: The dispatcher deletes staged objects, and not a lifecycle rule.
    """

    def __init__(
        self,
        *,
        staged: StagedObjects,
        remover: Remover,
        cache: RecentWrites,
        observe: Observer,
        is_enabled: bool,
    ) -> None:
        self._staged = staged
        self._remover = remover
        self._cache = cache
        self._observe = observe
        self._is_enabled = is_enabled
        self._is_closing = False
        self._has_warned = False
        self._is_down = False
        self._ended = anyio.Event()

    async def run(self) -> None:
        """Delete what is discarded until ``finish``, and then what is left."""
        while self._is_enabled:
            if discarded := await self._staged.discarded():
                locations = iter(discarded)
                async with anyio.create_task_group() as group:
                    for _ in range(min(_CONCURRENCY, len(discarded))):
                        group.start_soon(self._delete_all, locations)
            elif self._is_closing:
                break
            else:
                await self._staged.change()
        self._ended.set()

    async def finish(self) -> None:
        """Return when every discarded object is deleted, or its deletion has failed.

        After one failure the others are left to the next process: an outage must not hold up the
        end.
        """
        self._is_closing = True
        self._staged.wake()
        await self._ended.wait()

    async def _delete_all(self, locations: Iterator[str]) -> None:
        for name in locations:
            location = parse_location(name)
            assert location is not None, "as it was staged"
            if self._is_closing and self._is_down:
                self._observe(PayloadStaged("deletion_failed"))
                continue
            try:
                await self._delete(name, location)
            except Denied as error:
                self._warn("deletion_denied", f"{error}. {_ALLOW}")
            except CallError as error:
                self._is_down = True
                self._warn("deletion_failed", str(error))

    async def _delete(self, name: str, location: Location) -> None:
        """Delete an object that is not used; its lock keeps the stagers away meanwhile.

        That holds between a call without an answer, which may still take effect, and its
        repetition, too.
        """
        async with self._cache.lock(name):
            if self._staged.is_used(name):  # the same content was staged again
                return
            self._cache.forget(name)
            failpoints.reach("dispatch.deleting")
            await self._repeated(location)
            self._staged.deleted(name)
        self._is_down = False
        self._observe(PayloadStaged("deleted"))

    async def _repeated(self, location: Location) -> None:
        for pause in _PAUSES_SECONDS:
            try:
                await self._remover.delete(location)
            except Rejected:
                raise
            except CallError:
                await anyio.sleep(pause)
            else:
                return
        await self._remover.delete(location)

    def _warn(self, action: StagingAction, why: str) -> None:
        """Report an object that stays, and log the first one: the run goes on."""
        self._observe(PayloadStaged(action))
        if not self._has_warned:
            self._has_warned = True
            _log.warning(
                "a staged object was not deleted: %s. Such objects are left to the next process of "
                "this run, which tries again",
                why,
            )
