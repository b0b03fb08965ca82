"""StagedObjects objects that nobody needs any more are deleted, in the background.

What is to be deleted is in the ledger until it is gone, so a crash leaves nothing behind that the
next process does not delete.
"""

import logging
from collections.abc import Iterator
from typing import Protocol

import anyio

from dispatcher import failpoints
from dispatcher.aws.location import parse_location
from dispatcher.aws.requests import Location
from dispatcher.dispatch.staging.object_cache import ObjectCache
from dispatcher.errors import CallError, Denied, Rejected
from dispatcher.ledger.staged_objects import StagedObjects
from dispatcher.observe.meter import Meter

_log = logging.getLogger(__name__)

_AT_ONCE = 8
"""Deletions that are under way together."""

_PAUSES_SECONDS = (0.5, 2.0, 8.0, 30.0)
"""Before each repeated deletion; after them it is left to the next process."""


class Remover(Protocol):
    """Deletes objects."""

    async def delete(self, location: Location) -> None:
        """Delete an object; one that does not exist is no error."""


class StagedObjectCleanup:
    """Deletes what the ledger has discarded.

    Args:
        staged: What that is.
        remover: S3.
        presence: Who is busy with an object, and whether it is there; shared with who stages.
        meter: Counts.
        is_ours: It is for us to delete.
    """

    def __init__(
        self,
        staged: StagedObjects,
        remover: Remover,
        presence: ObjectCache,
        meter: Meter,
        *,
        is_ours: bool = True,
    ) -> None:
        self._staged = staged
        self._remover = remover
        self._presence = presence
        self._meter = meter
        self._is_ours = is_ours
        self._is_closing = False
        self._has_warned = False
        self._is_down = False
        self._ended = anyio.Event()

    async def run(self) -> None:
        """Delete what is discarded until ``finish``, and then what is left."""
        while self._is_ours:
            if found := await self._staged.discarded():
                locations = iter(found)
                async with anyio.create_task_group() as group:
                    for _ in range(min(_AT_ONCE, len(found))):
                        group.start_soon(self._delete_all, locations)
            elif self._is_closing:
                break
            else:
                await self._staged.change()
        self._ended.set()

    async def finish(self) -> None:
        """Return when everything that was discarded is deleted, or was tried in vain.

        Once one was, the others are left to the next process: an outage must not hold up the end.
        """
        self._is_closing = True
        self._staged.wake()
        await self._ended.wait()

    async def _delete_all(self, locations: Iterator[str]) -> None:
        for name in locations:
            location = parse_location(name)
            assert location is not None, "as it was staged"
            if self._is_closing and self._is_down:
                self._meter.staged["deletion_failed"] += 1
                continue
            try:
                await self._delete(name, location)
            except Denied as error:
                self._warn("denied", f"{error}. Allow s3:DeleteObject there, or set staging.delete")
            except CallError as error:
                self._is_down = True
                self._warn("failed", str(error))

    async def _delete(self, name: str, location: Location) -> None:
        """Delete an object that is not used; nobody stages it anew meanwhile.

        Also not between a call that was not answered, and may still have its effect, and one that
        was.
        """
        async with self._presence.alone(name):
            if self._staged.is_used(name):  # the same content was staged anew
                return
            self._presence.forget(name)
            failpoints.reach("dispatch.deleting")
            await self._repeated(location)
            self._staged.deleted(name)
        self._is_down = False
        self._meter.staged["deleted"] += 1

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

    def _warn(self, how: str, why: str) -> None:
        """Count an object that stays, and say so of the first one: it stops nobody."""
        self._meter.staged[f"deletion_{how}"] += 1
        if not self._has_warned:
            self._has_warned = True
            _log.warning(
                "a staged object was not deleted: %s. Such objects are left to the next process of "
                "this run, which tries again",
                why,
            )
