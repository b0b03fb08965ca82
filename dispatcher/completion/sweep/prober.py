"""The requests to S3 that a sweep makes: a few at once, within the budget."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from dispatcher.aws.location import parse_location
from dispatcher.aws.requests import Location
from dispatcher.completion.sweep.observations import FolderListing, Observations
from dispatcher.completion.sweep.schedule import Kind, Probe, location
from dispatcher.errors import CallError, Denied
from dispatcher.observe.meter import Meter
from dispatcher.retry.token_bucket import TokenBucket

_AT_ONCE = 8
"""Requests under way."""


class ObjectLister(Protocol):
    """Looks for objects."""

    async def exists(self, location: Location) -> bool | None:
        """Return whether an object is there, or None if that cannot be seen."""

    async def page(self, folder: Location) -> set[str]:
        """Return the first thousand keys that begin with ``folder.key``."""


@dataclass(slots=True)
class Prober:
    """Makes the requests.

    Attributes:
        looker: Looks into S3.
        budget: Of all requests.
        meter: Requests are counted in ``looks``.
        now: Epoch seconds.
        refused: Buckets that may not be listed; they are not asked again.
    """

    looker: ObjectLister
    budget: TokenBucket
    meter: Meter
    now: Callable[[], float]
    refused: set[str] = field(default_factory=set)

    async def see(self, planned: Iterable[Probe], kind: Kind, sight: Observations) -> None:
        """Probe for outputs or failures, and add to ``sight`` what is seen.

        Of a folder whose LIST is refused nothing is: its objects have to be looked at singly.
        """
        waiting = deque(planned)

        async def work() -> None:
            while waiting:
                await self._look(waiting.popleft(), kind, sight)

        async with anyio.create_task_group() as group:
            for _ in range(min(_AT_ONCE, len(waiting))):
                group.start_soon(work)

    async def _look(self, look: Probe, kind: Kind, sight: Observations) -> None:
        at = [one for entry in look.entries if (one := location(entry, kind))]
        if look.folder is not None:
            if look.folder not in sight.pages:
                await self._list(look.folder, at, sight)
            if look.folder not in sight.pages:
                return
            at = [one for one in at if sight.shows(one) is None]  # not on a page that is full
        for one in at:
            await self._head(one, sight)

    async def _list(self, folder: str, objects: list[str], sight: Observations) -> None:
        where = parse_location(f"{folder}/")
        if where is None or where.bucket in self.refused:
            return
        await self._spend("list")
        try:
            keys = await self.looker.page(where)
        except Denied:  # s3:ListBucket is not granted
            self.refused.add(where.bucket)
        except CallError as error:
            sight.answers.append(error)
            sight.failed.update(objects)
        else:
            sight.answers.append(None)
            sight.pages[folder] = FolderListing(keys, where.key)

    async def _head(self, at: str, sight: Observations) -> None:
        where = parse_location(at)
        if where is None:  # of no form that is known: nobody can look there
            sight.objects[at] = False
            return
        await self._spend("head")
        try:
            there = await self.looker.exists(where)
        except CallError as error:
            sight.answers.append(error)
            sight.failed.add(at)
            return
        sight.answers.append(None)
        if there is None:
            sight.unseen.add(at)
        else:
            sight.objects[at] = there

    async def _spend(self, kind: str) -> None:
        """Wait until the budget has room for a request, and count it."""
        wait = self.budget.take(self.now())
        if wait > 0:
            await anyio.sleep(wait)
        self.meter.looks[kind] += 1
