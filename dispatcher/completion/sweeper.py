"""Looks into S3 for invocations whose event is overdue, and ends those past their deadline.

A lost event must not lose a record, and there is no status call. Locations are those that the 202
named. Where many wait in one folder, one LIST page tells of a thousand; a few are looked at singly.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from dispatcher.aws.calls import Location
from dispatcher.aws.location import parse_location
from dispatcher.completion.event import Completion
from dispatcher.completion.joiner import Claimed
from dispatcher.completion.patience import Patience
from dispatcher.config.settings import Config
from dispatcher.errors import CallError, Denied
from dispatcher.ledger.intent import Entry
from dispatcher.ledger.ledger import Ledger
from dispatcher.observe.meter import Meter

_LIST_FROM = 4
"""Overdue invocations of one folder from which on a LIST is used; it costs 12.5 HEADs."""


class Looker(Protocol):
    """Looks for objects."""

    async def exists(self, location: Location) -> bool | None:
        """Return whether an object is there, or None if that cannot be seen."""

    async def page(self, folder: Location) -> set[str]:
        """Return the first thousand keys that begin with ``folder.key``."""


def due(entries: Iterable[Entry], now: float, sweep_after: float) -> list[Entry]:
    """Return the invocations to look at now: overdue, and not looked at for as long."""
    return [
        entry
        for entry in entries
        if entry.accepted_at is not None
        and now - entry.accepted_at >= sweep_after
        and (entry.looked_at is None or now - entry.looked_at >= sweep_after)
    ]


def is_expired(entry: Entry, now: float, patience: float) -> bool:
    """Return whether an invocation is past ttl + timeout + slack (``patience``), in seconds."""
    return entry.accepted_at is not None and now - entry.accepted_at > patience


@dataclass(slots=True)
class Sweeper:
    """One loop, until cancelled."""

    config: Config
    ledger: Ledger
    looker: Looker
    meter: Meter
    patience: Patience
    now: Callable[[], float]

    async def run(self, claims: MemoryObjectSendStream[Claimed]) -> None:
        """Look for what is overdue for as long as the run goes on.

        Raises:
            Denied: An invocation is past its deadline, and whether it has an output cannot be seen.
            RunStopped: AWS has not answered for too long.
        """
        sweep_after = self.config.completion.sweep_after
        async with claims:
            while True:
                for entry, completion in await self.sweep():
                    if self.ledger.claim(entry):
                        self.meter.looks["found"] += completion.kind != "expired"
                        await claims.send(Claimed(entry, completion))
                await anyio.sleep(min(sweep_after / 4, 15.0))

    async def sweep(self) -> list[tuple[Entry, Completion]]:
        """Look once; return what was found or is past its deadline."""
        now = self.now()
        overdue = due(self.ledger.accepted(), now, self.config.completion.sweep_after)
        found: list[tuple[Entry, Completion]] = []
        for entries in _by_folder(overdue).values():
            present: set[Location] = set()
            unseen: set[Location] = set()
            complete = True
            try:
                await self._look_for(entries, present, unseen)
                self.patience.succeeded()
            except CallError as error:
                self.patience.failed(error)
                complete = False  # the others next time
            for entry in entries:
                entry.looked_at = now
                completion = self._found(entry, present)
                if completion is None and complete and self._is_expired(entry, now):
                    if _at(entry.output) in unseen:
                        raise _unseen(entry)
                    completion = Completion("expired", entry.planned.id, None)
                if completion is not None:
                    found.append((entry, completion))
        return found

    async def _look_for(
        self, entries: Sequence[Entry], present: set[Location], unseen: set[Location]
    ) -> None:
        """Add the output and failure objects that are there, and those that cannot be seen."""
        outputs = {entry.planned.id: at for entry in entries if (at := _at(entry.output))}
        failures = {entry.planned.id: at for entry in entries if (at := _at(entry.failure))}
        shard = entries[0].planned.shard
        await self._look(list(outputs.values()), shard, present, unseen)
        unanswered = [at for id_, at in failures.items() if outputs.get(id_) not in present]
        await self._look(unanswered, shard, present, unseen)

    async def _look(
        self,
        locations: Sequence[Location],
        shard: str,
        present: set[Location],
        unseen: set[Location],
    ) -> None:
        folders = {_folder(at) for at in locations}
        # A folder that is not the shard's own may hold any number of other objects.
        if len(locations) >= _LIST_FROM and len(folders) == 1:
            folder = folders.pop()
            if folder.key.endswith(f"/{shard}/"):
                with suppress(Denied):  # s3:ListBucket is not granted: look at each
                    self.meter.looks["list"] += 1
                    keys = await self.looker.page(folder)
                    present.update(at for at in locations if at.key in keys)
                    return
        for at in locations:
            self.meter.looks["head"] += 1
            there = await self.looker.exists(at)
            if there is None:
                unseen.add(at)
            elif there:
                present.add(at)

    def _found(self, entry: Entry, present: set[Location]) -> Completion | None:
        output, failure = _at(entry.output), _at(entry.failure)
        if output in present:
            return Completion("completed", entry.planned.id, output)
        if failure in present:
            return Completion("failed", entry.planned.id, failure)
        return None

    def _is_expired(self, entry: Entry, now: float) -> bool:
        request, slack = self.config.request, self.config.completion.slack
        return is_expired(entry, now, request.ttl + request.timeout + slack)


def _unseen(entry: Entry) -> Denied:
    return Denied(
        f"AWS refuses a look at {entry.output}, whose invocation is past its deadline, so nobody "
        "can tell whether it has an output. Allow s3:GetObject on the endpoint's output path (and "
        "s3:ListBucket on its bucket), then run the same command again"
    )


def _by_folder(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Group invocations whose objects lie in one folder: those of one shard."""
    folders = defaultdict(list)
    for entry in entries:
        folders[entry.planned.shard].append(entry)
    return folders


def _at(location: str | None) -> Location | None:
    return parse_location(location) if location else None


def _folder(at: Location) -> Location:
    return Location(at.bucket, at.key.rpartition("/")[0] + "/")
