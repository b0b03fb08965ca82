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
"""Requests under way together."""


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
        budget: Bounds the rate of all requests.
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

        Where the LIST of a folder is refused, nothing is added: its objects have to be looked at
        singly.
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
            # A full page does not show what comes after it.
            locations = [at for at in locations if observations.shows(at) is None]
        for at in locations:
            await self._head(at, observations)

    async def _list(self, folder: str, objects: list[str], observations: Observations) -> None:
        parsed = parse_location(f"{folder}/")
        if parsed is None or parsed.bucket in self.refused:
            return
        await self._spend("list")
        try:
            keys = await self.objects.page(parsed)
        except Denied:  # s3:ListBucket is not granted
            self.refused.add(parsed.bucket)
        except CallError as error:
            observations.responses.append(error)
            observations.failed.update(objects)
        else:
            observations.responses.append(None)
            observations.pages[folder] = FolderListing(keys, parsed.key)

    async def _head(self, at: str, observations: Observations) -> None:
        parsed = parse_location(at)
        if parsed is None:  # not a location of S3: it cannot be looked for
            observations.objects[at] = False
            return
        await self._spend("head")
        try:
            exists = await self.objects.exists(parsed)
        except CallError as error:
            observations.responses.append(error)
            observations.failed.add(at)
            return
        observations.responses.append(None)
        if exists is None:
            observations.unseen.add(at)
        else:
            observations.objects[at] = exists

    async def _spend(self, operation: Literal["list", "head"]) -> None:
        """Wait until the budget has room for a request, and count it."""
        wait = self.budget.take(self.now())
        if wait > 0:
            await anyio.sleep(wait)
        self.observe(SweepRequested(operation))
