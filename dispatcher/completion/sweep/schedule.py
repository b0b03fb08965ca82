"""Which invocations to look for, when, and in which requests. Pure."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from dispatcher import limits
from dispatcher.aws.location import parse_location
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.states import State

LIST_FROM = 13
"""Objects of one folder from which on a LIST is cheaper: it costs 12.5 HEADs ($5.00 against $0.40
a million; FACTS.md section 7)."""

LIST_FROM_IN_HASTE = 2
"""The same where requests, not their price, are short."""

_GROWTH = 0.5
"""Wait before the next look, as a share of the invocation's age: an output is found when it is at
most half as old again, with 15 looks in six hours."""

Kind: TypeAlias = Literal["output", "failure"]

Due: TypeAlias = tuple[bool, float, int, Entry]
"""An invocation to be looked for, sorted by urgency: those past their deadline first, then who has
waited longest; its number keeps the order whole."""


@dataclass(slots=True, frozen=True)
class SweepSchedule:
    """When an invocation is looked for; all in seconds.

    Attributes:
        first: From acceptance to the first look.
        pause: Shortest time between two looks.
        deadline: From acceptance to the last look.
    """

    first: float
    pause: float
    deadline: float

    def next_look(self, accepted_at: float, looked_at: float | None) -> float:
        """Return when to look next: when it is expected, then ever more rarely, and at the end."""
        at = accepted_at + self.first
        if looked_at is not None:
            at = max(at, looked_at + max(self.pause, _GROWTH * (looked_at - accepted_at)))
        return min(at, accepted_at + self.deadline)

    def is_over(self, accepted_at: float, now: float) -> bool:
        """Return whether a look now is the last one."""
        return now >= accepted_at + self.deadline

    def due(
        self,
        entries: Iterable[Entry],
        now: float,
        postponed: Mapping[int, float],
        before: Due | None = None,
    ) -> list[Due]:
        """Return the accepted invocations to look for now, in their order.

        One without any location cannot be looked for, and has its deadline only.

        Args:
            entries: Who is accepted.
            now: Epoch seconds.
            postponed: When to repeat looks that came to nothing, by number. These wait behind the
                others: if all of them fail again, nobody else waits for that.
            before: Only who is more urgent than this one, if given.
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
                at = self.next_look(accepted_at, entry.looked_at)
            number = entry.planned.number
            if not is_over and not (at <= now and (entry.output or entry.failure)):
                continue
            if (again := postponed.get(number)) is not None:
                if again > now:
                    continue
                is_over, at = False, again
            one = (not is_over, at, number, entry)
            if before is None or one < before:
                due.append(one)
        return due


def location(entry: Entry, kind: Kind) -> str | None:
    """Return where an invocation's output or failure object would be, or None if nobody knows."""
    return entry.output if kind == "output" else entry.failure


def folder(entry: Entry, kind: Kind) -> str | None:
    """Return the folder of an object, without the slash at its end, if it is the shard's own.

    Any other may hold any number of objects that are not ours, and a page only has a thousand.
    """
    parent = (location(entry, kind) or "").rpartition("/")[0]
    return parent if parent.endswith(f"/{entry.planned.shard}") else None


@dataclass(slots=True)
class Probe:
    """One request, and the invocations that it tells of.

    Attributes:
        folder: The folder to LIST, or None: HEAD the object of the only invocation.
        entries: Whose objects are looked for.
        others: Of whom the page tells as well, before they are due.
    """

    folder: str | None
    entries: list[Entry]
    others: list[Entry] = field(default_factory=list)


def looks(
    entries: Collection[Entry],
    kind: Kind,
    *,
    list_from: int,
    refused: Collection[str] = (),
    listed: Collection[str] = (),
) -> list[Probe]:
    """Return the requests that look for these invocations, in the order of their most urgent.

    Args:
        entries: Who is looked for, the most urgent first.
        kind: Which of their objects.
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
    planned = []
    for entry in entries:
        look = lists.get(folder(entry, kind) or "")
        if look is None:
            planned.append(Probe(None, [entry]))
            continue
        if not look.entries:
            planned.append(look)
        look.entries.append(entry)
    return planned


def cost(look: Probe) -> int:
    """Return how many requests a look for outputs may take, with those for failures after it."""
    if look.folder is None or folder(look.entries[0], "failure") is not None:
        return 2
    return 1 + sum(entry.failure is not None for entry in look.entries)


def neighbours(look: Probe, find: Callable[[int], Entry | None]) -> list[Entry]:
    """Return who else is accepted and has its output in the folder of a LIST.

    Args:
        look: The LIST.
        find: The ledger's look-up by number: a shard holds consecutive ones.
    """
    size = limits.S3_LIST_PAGE_KEYS
    begin = look.entries[0].planned.number // size * size
    known = {entry.planned.number for entry in look.entries}
    found = [find(number) for number in range(begin, begin + size) if number not in known]
    return [e for e in found if e is not None and is_open(e) and folder(e, "output") == look.folder]


def is_open(entry: Entry) -> bool:
    """Return whether an invocation is accepted, and nobody is settling it."""
    return entry.state is State.ACCEPTED and not entry.claimed
