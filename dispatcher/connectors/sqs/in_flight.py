"""The messages of one queue that are in hand: which is which, and what has to be done for them.

Pure: it neither waits nor calls, and takes the time. A message is known by its name through all its
deliveries; each delivery has another receipt, and only the latest one hides or deletes it.
"""

import heapq
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count, islice

from dispatcher import limits
from dispatcher.records.record import Position
from dispatcher.records.source import MessageLog

FORGET_SECONDS = 300.0
"""How long a deleted message is remembered at least: a queue may deliver it again all the same."""

REMEMBERED = 100_000
"""Most settled messages that are remembered; the oldest ones go first."""

_RETENTION_SECONDS = 1_209_600.0
"""Longest time that a queue keeps a message (D: 14 days)."""

_BEAT_SHARES = (1 / 3, 1 / 2)
"""When a message is hidden anew, as shares of the visibility time-out; jittered between them."""

_EARLY_SHARE = 0.1
"""How much earlier a message may be hidden anew, to share a call with one that is due."""

_MARGIN_SECONDS = 60.0
"""How much the queue's clock of the twelve hours may be ahead of ours: it began before the answer
to the receive was read."""

_SPARE_TIMERS = 1_000


@dataclass(slots=True, frozen=True)
class Beat:
    """A message that is to be hidden for some seconds from now."""

    name: str
    receipt: str
    seconds: int


@dataclass(slots=True, eq=False)
class _Held:
    """A message that is not settled.

    Attributes:
        position: The identity of its record.
        receipt: Of its latest delivery; None while it was not delivered to this process.
        received: When that was.
        lapses: When it is visible again, unless it is hidden anew before.
        due: When it is to be hidden anew; None: not again under this receipt, or it is under way.
    """

    position: Position
    receipt: str | None = None
    received: float = 0.0
    lapses: float = 0.0
    due: float | None = None


@dataclass(slots=True)
class Deliveries:
    """Knows every message that is outstanding, or settled and able to come again.

    Attributes:
        stream: The queue's name in positions.
        log: What the ledger knew at the start.
        visibility: The queue's visibility time-out in seconds.
        rng: Jitters, so that messages that came together are not all due at once.
        lost: When a message may have become visible under our hands the last time, or -inf.
    """

    stream: str
    log: MessageLog
    visibility: float
    rng: random.Random
    lost: float = float("-inf")
    _held: dict[str, _Held] = field(init=False)
    _unseen: int = field(init=False)
    _number: int = field(init=False)
    _settled: dict[str, float] = field(init=False)  # not known to be deleted: when it was settled
    _deleted: dict[str, float] = field(default_factory=dict)  # when it was deleted
    _to_delete: dict[str, str] = field(default_factory=dict)  # receipts
    _deleting: Counter[str] = field(default_factory=Counter)  # calls under way
    _timers: list[tuple[float, int, str]] = field(default_factory=list)
    _ties: "count[int]" = field(default_factory=count)

    def __post_init__(self) -> None:
        """Take over what earlier processes of the run left."""
        self._held = {name: _Held(position) for name, position in self.log.outstanding.items()}
        self._unseen = len(self._held)
        self._number = self.log.next_number
        self._settled = dict(sorted(self.log.settled.items(), key=lambda item: item[1]))

    # Arrivals

    def arrive(self, name: str, receipt: str, now: float) -> Position | None:
        """Take note of a delivery.

        Returns:
            The position of the record to be made of it; None where there is nothing to read,
            because the message is outstanding already, or settled and only to be deleted.
        """
        if name in self._settled or name in self._deleted:
            self._to_delete[name] = receipt
            return None
        held = self._held.get(name)
        if held is None:
            at = self._number
            self._number += 1
            held = self._held[name] = _Held(Position(self.stream, at, at + 1, at + 1, name))
            is_read = False
        else:
            is_read = held.receipt is not None
            self._unseen -= not is_read
        held.receipt, held.received = receipt, now
        held.lapses = now + self.visibility
        self._schedule(name, held, now)
        return None if is_read else held.position

    def settle(self, name: str, now: float) -> None:
        """Take note that the outcome of a message is durable: it is deleted as soon as may be."""
        held = self._held.pop(name)
        self._settled[name] = now
        if held.receipt is None:
            self._unseen -= 1
        else:
            self._to_delete[name] = held.receipt

    def is_outstanding(self, name: str) -> bool:
        """Return whether a message is not settled."""
        return name in self._held

    def give_back(self, names: Iterable[str]) -> list[str]:
        """Let go of messages that nobody has read; return their receipts."""
        held = [self._held.pop(name) for name in names]
        return [one.receipt for one in held if one.receipt is not None]

    @property
    def unsettled(self) -> int:
        """Messages that were delivered to this process and are not settled."""
        return len(self._held) - self._unseen

    # Deletions

    @property
    def undeleted(self) -> int:
        """Messages that can be deleted and are not."""
        return len(self._to_delete) + self._deleting.total()

    @property
    def deletable(self) -> int:
        """Messages that wait to be deleted."""
        return len(self._to_delete)

    def deletions(self) -> list[tuple[str, str]]:
        """Take names and receipts of messages to delete, as many as fit a call.

        Each is given back by ``deleted``, ``not_deleted`` or ``undeletable``.
        """
        taken = list(islice(self._to_delete.items(), limits.SQS_BATCH_ENTRIES))
        for name, _ in taken:
            del self._to_delete[name]
            self._deleting[name] += 1
        return taken

    def deleted(self, name: str, now: float) -> None:
        """Take note of a deletion that succeeded."""
        self._back(name)
        self._settled.pop(name, None)
        self._deleted.pop(name, None)
        self._deleted[name] = now

    def not_deleted(self, name: str, receipt: str) -> None:
        """Take note of a deletion that is to be tried again."""
        self._back(name)
        self._to_delete.setdefault(name, receipt)  # a later delivery has the better receipt

    def undeletable(self, name: str, now: float) -> None:
        """Take note of a receipt that is none any more: the message comes again, with another."""
        self._back(name)
        self.lost = now

    def _back(self, name: str) -> None:
        self._deleting[name] -= 1
        if not self._deleting[name]:
            del self._deleting[name]

    # Visibility

    @property
    def next_beat(self) -> float | None:
        """When the next message may be due; None where none is."""
        return self._timers[0][0] if self._timers else None

    def beats(self, now: float) -> list[Beat]:
        """Take the messages to hide anew, the most urgent first, as many as fit a call.

        Each is given back by ``beaten``, ``not_beaten`` or ``stale``. What is visible already is
        left to the next delivery: to hide it is refused, and under a backlog the time for it would
        make the others late in their turn.
        """
        if self.next_beat is None or self.next_beat > now:
            return []
        taken: list[Beat] = []
        early = now + self.visibility * _EARLY_SHARE
        while (
            self._timers and self._timers[0][0] <= early and len(taken) < limits.SQS_BATCH_ENTRIES
        ):
            due, _, name = heapq.heappop(self._timers)
            held = self._held.get(name)
            if held is None or held.due != due:
                continue
            held.due = None
            if held.lapses <= now:
                self.lost = now
                continue
            left = held.received + limits.SQS_VISIBILITY_SECONDS - _MARGIN_SECONDS - now
            seconds = int(min(self.visibility, left))
            if held.receipt is not None and now + seconds > held.lapses:
                taken.append(Beat(name, held.receipt, seconds))
        return taken

    def beaten(self, beat: Beat, now: float) -> None:
        """Take note that a message is hidden anew.

        Args:
            beat: What was asked for.
            now: When it was asked for; the queue counts from a moment after.
        """
        held = self._current(beat)
        if held is not None:
            held.lapses = now + beat.seconds
            self._schedule(beat.name, held, now)

    def not_beaten(self, beat: Beat, now: float) -> None:
        """Take note that a message could not be hidden anew; it is tried again soon."""
        held = self._current(beat)
        if held is not None:
            self._set(beat.name, held, now + self.visibility * _EARLY_SHARE * self.rng.random())

    def stale(self, beat: Beat, now: float) -> None:
        """Take note that a receipt hides nothing any more: the message comes again."""
        if self._current(beat) is not None:
            self.lost = now

    def _current(self, beat: Beat) -> _Held | None:
        held = self._held.get(beat.name)
        return held if held is not None and held.receipt == beat.receipt else None

    def _schedule(self, name: str, held: _Held, now: float) -> None:
        self._set(name, held, now + self.visibility * self.rng.uniform(*_BEAT_SHARES))

    def _set(self, name: str, held: _Held, due: float) -> None:
        held.due = due
        heapq.heappush(self._timers, (due, next(self._ties), name))
        if len(self._timers) > 2 * len(self._held) + _SPARE_TIMERS:
            # What is settled leaves its timer behind, for hours where time-outs are long.
            held_now = self._held
            self._timers = [t for t in self._timers if (h := held_now.get(t[2])) and h.due == t[0]]
            heapq.heapify(self._timers)

    # Memory

    def forget(self, now: float) -> Sequence[str]:
        """Forget settled messages that will not come again, and return their names.

        Those are the ones that were deleted a while ago, and those that no queue can have kept so
        long; and the oldest ones where there are too many.
        """
        since = max(FORGET_SECONDS, self.visibility)
        gone = self._oldest(self._deleted, now - since, len(self._deleted) - REMEMBERED)
        too_many = len(self._settled) + len(self._deleted) - REMEMBERED
        gone += self._oldest(self._settled, now - _RETENTION_SECONDS, too_many)
        return gone

    def _oldest(self, names: dict[str, float], before: float, too_many: int) -> list[str]:
        gone: list[str] = []
        for name, at in names.items():
            if len(gone) >= too_many and at > before:
                break
            # One that is forgotten and delivered again is new, and nobody may delete it then.
            if name not in self._to_delete and name not in self._deleting:
                gone.append(name)
        for name in gone:
            del names[name]
        return gone
