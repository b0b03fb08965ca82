"""The prober: HEAD and LIST requests of the sweep, a few at once, within the budget."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import anyio

from dispatcher.aws.location import parse_location
from dispatcher.aws.requests import Location
from dispatcher.completion.sweep.observations import FolderListing, Observations
from dispatcher.completion.sweep.schedule import Kind, Probe, location
from dispatcher.errors import CallError, Denied
from dispatcher.observe.events import Observer, SweepRequested
from dispatcher.retry.token_bucket import TokenBucket

_CONCURRENCY = 8
"""Requests under way."""


class ObjectLister(Protocol):
    """Asks S3 for single objects and for folders."""

    async def exists(self, location: Location) -> bool | None:
        """Return whether an object is there, or None if that cannot be seen."""

    async def page(self, folder: Location) -> set[str]:
        """Return the first thousand keys that begin with ``folder.key``."""


@dataclass(slots=True, kw_only=True)
class Prober:
    """Makes the requests of the sweep.

    Attributes:
        objects: S3.
        budget: Of all requests.
        observe: Gets the events.
        now: Epoch seconds.
        refused: Buckets that may not be listed; they are not asked again.
    """

    objects: ObjectLister
    budget: TokenBucket
    observe: Observer
    now: Callable[[], float]
    refused: set[str] = field(default_factory=set)

    async def probe(self, probes: Iterable[Probe], kind: Kind, observations: Observations) -> None:
        """Probe for outputs or failures, and add to ``observations`` what is seen.

        A folder whose LIST is refused shows nothing: its objects have to be probed singly.
        """
        waiting = deque(probes)

        async def work() -> None:
            while waiting:
                await self._probe(waiting.popleft(), kind, observations)

        async with anyio.create_task_group() as group:
            for _ in range(min(_CONCURRENCY, len(waiting))):
                group.start_soon(work)

    async def _probe(self, probe: Probe, kind: Kind, observations: Observations) -> None:
        locations = [at for entry in probe.entries if (at := location(entry, kind))]
        if probe.folder is not None:
            if probe.folder not in observations.pages:
                await self._list(probe.folder, locations, observations)
            if probe.folder not in observations.pages:
                return
            # not on a page that is full
            locations = [at for at in locations if observations.shows(at) is None]
        for at in locations:
            await self._head(at, observations)

    async def _list(self, folder: str, objects: list[str], observations: Observations) -> None:
        where = parse_location(f"{folder}/")
        if where is None or where.bucket in self.refused:
            return
        await self._spend("list")
        try:
            keys = await self.objects.page(where)
        except Denied:  # s3:ListBucket is not granted
            self.refused.add(where.bucket)
        except CallError as error:
            observations.answers.append(error)
            observations.failed.update(objects)
        else:
            observations.answers.append(None)
            observations.pages[folder] = FolderListing(keys, where.key)

    async def _head(self, at: str, observations: Observations) -> None:
        where = parse_location(at)
        if where is None:  # of no known form: it cannot be probed
            observations.objects[at] = False
            return
        await self._spend("head")
        try:
            there = await self.objects.exists(where)
        except CallError as error:
            observations.answers.append(error)
            observations.failed.add(at)
            return
        observations.answers.append(None)
        if there is None:
            observations.unseen.add(at)
        else:
            observations.objects[at] = there

    async def _spend(self, operation: Literal["list", "head"]) -> None:
        """Wait until the budget has room for a request, and count it."""
        wait = self.budget.take(self.now())
        if wait > 0:
            await anyio.sleep(wait)
        self.observe(SweepRequested(operation))
