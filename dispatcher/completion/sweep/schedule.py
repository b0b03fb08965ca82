"""The sweep schedule: the times of probes for an invocation, and their requests. Pure."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from dispatcher import limits
from dispatcher.aws.location import parse_location
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.states import State

LIST_FROM = 13
"""Objects of one folder from which on a LIST is cheaper: it costs 12.5 HEADs ($5.00 against
$0.40 a million, the prices of us-east-1)."""

LIST_FROM_IN_HASTE = 2
"""The same where requests, not their price, are short."""

_GROWTH = 0.5
"""Wait before the next probe, as a share of the invocation's age: an output is found when it is at
most half as old again, with 15 probes in six hours."""

Kind: TypeAlias = Literal["output", "failure"]

Due: TypeAlias = tuple[bool, float, int, Entry]
"""An invocation to probe for, sorted by urgency: those past their deadline first, then
those that have waited longest; the number decides between equals."""


@dataclass(slots=True, frozen=True)
class SweepSchedule:
    """The times at which an invocation is probed for; all in seconds.

    Attributes:
        first: From acceptance to the first probe.
        pause: Shortest time between two probes.
        deadline: From acceptance to the last probe.
    """

    first: float
    pause: float
    deadline: float

    def next_probe(self, accepted_at: float, looked_at: float | None) -> float:
        """Return the time of the next probe.

        The first is when a completion is expected, the next ever more rarely, the last at the
        deadline.
        """
        at = accepted_at + self.first
        if looked_at is not None:
            at = max(at, looked_at + max(self.pause, _GROWTH * (looked_at - accepted_at)))
        return min(at, accepted_at + self.deadline)

    def is_over(self, accepted_at: float, now: float) -> bool:
        """Return whether a probe now is the last one."""
        return now >= accepted_at + self.deadline

    def due(
        self,
        entries: Iterable[Entry],
        now: float,
        postponed: Mapping[int, float],
        before: Due | None = None,
    ) -> list[Due]:
        """Return the accepted invocations to probe for now, in their order.

        One without any location cannot be probed for, and has its deadline only.

        Args:
            entries: Accepted invocations.
            now: Epoch seconds.
            postponed: Times at which probes that failed are repeated, by number. These wait behind
                the others: if all of them fail again, no other waits for that.
            before: Only those that are more urgent than this one, if given.
        """
        latest = now - min(self.first, self.deadline)
        due = []
        for entry in entries:
            accepted_at = entry.accepted_at
            if accepted_at is None or accepted_at > latest:
                continue
            is_over = self.is_over(accepted_at, now)
            at = accepted_at + self.deadline
            if not is_over:
                at = self.next_probe(accepted_at, entry.looked_at)
            number = entry.planned.number
            if not is_over and not (at <= now and (entry.output or entry.failure)):
                continue
            if (repeat_at := postponed.get(number)) is not None:
                if repeat_at > now:
                    continue
                is_over, at = False, repeat_at
            item = (not is_over, at, number, entry)
            if before is None or item < before:
                due.append(item)
        return due


def location(entry: Entry, kind: Kind) -> str | None:
    """Return the location of an invocation's output or failure object; None where unknown."""
    return entry.output if kind == "output" else entry.failure


def folder(entry: Entry, kind: Kind) -> str | None:
    """Return the folder of an object, without the slash at its end, if it is the shard's own.

    Any other may hold any number of foreign objects, and a page has only a thousand.
    """
    parent = (location(entry, kind) or "").rpartition("/")[0]
    return parent if parent.endswith(f"/{entry.planned.shard}") else None


@dataclass(slots=True)
class Probe:
    """One request, and the invocations that it is about.

    Attributes:
        folder: The folder to LIST, or None: HEAD the object of the only invocation.
        entries: The invocations whose objects are probed for.
        others: Invocations on the same page that are not due yet.
    """

    folder: str | None
    entries: list[Entry]
    others: list[Entry] = field(default_factory=list)


def probes(
    entries: Collection[Entry],
    kind: Kind,
    *,
    list_from: int,
    refused: Collection[str] = (),
    listed: Collection[str] = (),
) -> list[Probe]:
    """Return the requests that probe for these invocations, the most urgent first.

    Args:
        entries: The invocations, the most urgent first.
        kind: Their outputs or failures.
        list_from: Objects of one folder from which on it is listed.
        refused: Buckets that may not be listed.
        listed: Folders whose page is at hand.
    """
    sizes = Counter(folder(entry, kind) for entry in entries)
    lists = {
        at: Probe(at, [])
        for at, size in sizes.items()
        if at is not None
        and (size >= list_from or at in listed)
        and (where := parse_location(f"{at}/")) is not None
        and where.bucket not in refused
    }
    requests = []
    for entry in entries:
        probe = lists.get(folder(entry, kind) or "")
        if probe is None:
            requests.append(Probe(None, [entry]))
            continue
        if not probe.entries:
            requests.append(probe)
        probe.entries.append(entry)
    return requests


def cost(probe: Probe) -> int:
    """Return how many requests a probe for outputs may take, with those for failures after it."""
    if probe.folder is None or folder(probe.entries[0], "failure") is not None:
        return 2
    return 1 + sum(entry.failure is not None for entry in probe.entries)


def neighbours(probe: Probe, find: Callable[[int], Entry | None]) -> list[Entry]:
    """Return the other accepted invocations with outputs in the folder of a LIST.

    Args:
        probe: The LIST.
        find: The ledger's lookup by number: a shard holds consecutive ones.
    """
    size = limits.S3_LIST_PAGE_KEYS
    begin = probe.entries[0].planned.number // size * size
    known = {entry.planned.number for entry in probe.entries}
    others = (find(number) for number in range(begin, begin + size) if number not in known)
    return [
        entry
        for entry in others
        if entry is not None and is_open(entry) and folder(entry, "output") == probe.folder
    ]


def is_open(entry: Entry) -> bool:
    """Return whether an invocation is accepted, and not claimed."""
    return entry.state is State.ACCEPTED and not entry.claimed
