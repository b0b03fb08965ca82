"""Messages in flight: which are outstanding, which are due to be hidden again, which to be deleted.

Pure: it neither waits nor calls, and takes the time. A message keeps its name through all its
deliveries; each delivery has another receipt, and only the latest one hides or deletes it.
"""

import heapq
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import count, islice

from dispatcher import limits
from dispatcher.records.record import Position
from dispatcher.records.source import MessageLog

FORGET_SECONDS = 300.0
"""Shortest time that a deleted message is remembered: the queue may still deliver it again."""

REMEMBERED = 100_000
"""Most settled messages that are remembered; the oldest are forgotten first."""

_RETENTION_SECONDS = 1_209_600.0
"""Longest time that a queue keeps a message (D: 14 days)."""

_EXTEND_SHARES = (1 / 3, 1 / 2)
"""When a message is hidden again, as shares of the visibility time-out; jittered between them."""

_EARLY_SHARE = 0.1
"""How much earlier a message may be hidden again, to share a call with one that is due."""

_MARGIN_SECONDS = 60.0
"""How much sooner than ours the queue's clock of twelve hours may run out: it began before the
response to the receive was read."""

_SPARE_TIMERS = 1_000


@dataclass(slots=True, frozen=True)
class Extension:
    """A message to hide again.

    Attributes:
        name: The message.
        receipt: Of its latest delivery.
        seconds: How long to hide it, from the moment of the call.
    """

    name: str
    receipt: str
    seconds: int


@dataclass(slots=True, eq=False)
class _Message:
    """A message that is not settled.

    Attributes:
        position: The identity of its record.
        receipt: Of its latest delivery; None while it was not delivered to this process.
        received: When that was.
        visible_at: When it is visible again, unless it is hidden again before.
        due: When to hide it again; None: not under this receipt, or a call is under way.
    """

    position: Position
    _: KW_ONLY
    receipt: str | None = None
    received: float = 0.0
    visible_at: float = 0.0
    due: float | None = None


@dataclass(slots=True, kw_only=True)
class InFlightMessages:
    """Every message that is outstanding, or settled and may be delivered again.

    Attributes:
        stream: The queue's name in positions.
        log: What the ledger knew at the start.
        visibility: The queue's visibility time-out in seconds.
        rng: Jitters, so that messages that arrived together are not all due at once.
        lost: The last moment at which a message in flight may have become visible, or -inf.
    """

    stream: str
    log: MessageLog
    visibility: float
    rng: random.Random
    lost: float = float("-inf")
    _unsettled: dict[str, _Message] = field(init=False)
    _undelivered: int = field(init=False)
    _number: int = field(init=False)
    _settled: dict[str, float] = field(init=False)  # when it was settled; not known to be deleted
    _deleted: dict[str, float] = field(default_factory=dict)  # when it was deleted
    _to_delete: dict[str, str] = field(default_factory=dict)  # receipts
    _deleting: Counter[str] = field(default_factory=Counter)  # calls under way
    _timers: list[tuple[float, int, str]] = field(default_factory=list)
    _ties: "count[int]" = field(default_factory=count)

    def __post_init__(self) -> None:
        """Take over what earlier processes of the run left."""
        self._unsettled = {
            name: _Message(position) for name, position in self.log.outstanding.items()
        }
        self._undelivered = len(self._unsettled)
        self._number = self.log.next_number
        self._settled = dict(sorted(self.log.settled.items(), key=lambda item: item[1]))

    # Arrivals

    def arrive(self, name: str, receipt: str, now: float) -> Position | None:
        """Note a delivery.

        Returns:
            The position of the record to make of it; None where there is nothing to read, because
            the message is outstanding already, or settled and needs only to be deleted.
        """
        if name in self._settled or name in self._deleted:
            self._to_delete[name] = receipt
            return None
        message = self._unsettled.get(name)
        if message is None:
            at = self._number
            self._number += 1
            message = self._unsettled[name] = _Message(
                Position(self.stream, at, at + 1, at + 1, name)
            )
            is_read = False
        else:
            is_read = message.receipt is not None
            self._undelivered -= not is_read
        message.receipt, message.received = receipt, now
        message.visible_at = now + self.visibility
        self._schedule(name, message, now)
        return None if is_read else message.position

    def settle(self, name: str, now: float) -> None:
        """Note that the outcome of a message is durable: it can be deleted."""
        message = self._unsettled.pop(name)
        self._settled[name] = now
        if message.receipt is None:
            self._undelivered -= 1
        else:
            self._to_delete[name] = message.receipt

    def is_outstanding(self, name: str) -> bool:
        """Return whether a message is not settled."""
        return name in self._unsettled

    def give_back(self, names: Iterable[str]) -> list[str]:
        """Forget messages that were not read, and return their receipts."""
        messages = [self._unsettled.pop(name) for name in names]
        return [message.receipt for message in messages if message.receipt is not None]

    @property
    def unsettled(self) -> int:
        """Messages that were delivered to this process and are not settled."""
        return len(self._unsettled) - self._undelivered

    # Deletions

    @property
    def undeleted(self) -> int:
        """Settled messages that are not deleted, calls under way included."""
        return len(self._to_delete) + self._deleting.total()

    @property
    def deletable(self) -> int:
        """Settled messages that wait for a call that deletes them."""
        return len(self._to_delete)

    def deletions(self) -> list[tuple[str, str]]:
        """Take names and receipts of messages to delete, as many as fit a call.

        The caller reports each with ``deleted``, ``not_deleted`` or ``undeletable``.
        """
        taken = list(islice(self._to_delete.items(), limits.SQS_BATCH_ENTRIES))
        for name, _ in taken:
            del self._to_delete[name]
            self._deleting[name] += 1
        return taken

    def deleted(self, name: str, now: float) -> None:
        """Note a deletion that succeeded."""
        self._deletion_ended(name)
        self._settled.pop(name, None)
        self._deleted.pop(name, None)
        self._deleted[name] = now

    def not_deleted(self, name: str, receipt: str) -> None:
        """Note a deletion that failed and has to be repeated."""
        self._deletion_ended(name)
        self._to_delete.setdefault(name, receipt)  # a later delivery has the better receipt

    def undeletable(self, name: str, now: float) -> None:
        """Note a receipt that is no longer valid: the message is delivered again, with another."""
        self._deletion_ended(name)
        self.lost = now

    def _deletion_ended(self, name: str) -> None:
        self._deleting[name] -= 1
        if not self._deleting[name]:
            del self._deleting[name]

    # Visibility

    @property
    def next_extension(self) -> float | None:
        """When the next message may be due to be hidden again; None where none is."""
        return self._timers[0][0] if self._timers else None

    def due_extensions(self, now: float) -> list[Extension]:
        """Take the messages to hide again, the most urgent first, as many as fit a call.

        The caller reports each with ``extended``, ``not_extended`` or ``stale``. A message that is
        visible already is left to its next delivery: a call that hides it would be refused, and
        under a backlog the time for the call would make the others late as well.
        """
        if self.next_extension is None or self.next_extension > now:
            return []
        taken: list[Extension] = []
        early = now + self.visibility * _EARLY_SHARE
        while (
            self._timers and self._timers[0][0] <= early and len(taken) < limits.SQS_BATCH_ENTRIES
        ):
            due, _, name = heapq.heappop(self._timers)
            message = self._unsettled.get(name)
            if message is None or message.due != due:
                continue
            message.due = None
            if message.visible_at <= now:
                self.lost = now
                continue
            left = message.received + limits.SQS_VISIBILITY_SECONDS - _MARGIN_SECONDS - now
            seconds = int(min(self.visibility, left))
            if message.receipt is not None and now + seconds > message.visible_at:
                taken.append(Extension(name, message.receipt, seconds))
        return taken

    def extended(self, extension: Extension, now: float) -> None:
        """Note that a message is hidden again.

        Args:
            extension: The call that succeeded.
            now: When the call was made; the queue counts from a moment after.
        """
        message = self._current(extension)
        if message is not None:
            message.visible_at = now + extension.seconds
            self._schedule(extension.name, message, now)

    def not_extended(self, extension: Extension, now: float) -> None:
        """Note that a message could not be hidden again; the call is repeated soon."""
        message = self._current(extension)
        if message is not None:
            self._set(
                extension.name, message, now + self.visibility * _EARLY_SHARE * self.rng.random()
            )

    def stale(self, extension: Extension, now: float) -> None:
        """Note that a receipt is no longer valid: the message is delivered again."""
        if self._current(extension) is not None:
            self.lost = now

    def _current(self, extension: Extension) -> _Message | None:
        message = self._unsettled.get(extension.name)
        return message if message is not None and message.receipt == extension.receipt else None

    def _schedule(self, name: str, message: _Message, now: float) -> None:
        self._set(name, message, now + self.visibility * self.rng.uniform(*_EXTEND_SHARES))

    def _set(self, name: str, message: _Message, due: float) -> None:
        message.due = due
        heapq.heappush(self._timers, (due, next(self._ties), name))
        if len(self._timers) > 2 * len(self._unsettled) + _SPARE_TIMERS:
            # A settled message leaves its timer behind, for hours where time-outs are long.
            self._timers = [timer for timer in self._timers if self._is_current(timer)]
            heapq.heapify(self._timers)

    def _is_current(self, timer: tuple[float, int, str]) -> bool:
        due, _, name = timer
        message = self._unsettled.get(name)
        return message is not None and message.due == due

    # Memory

    def forget(self, now: float) -> Sequence[str]:
        """Forget settled messages that will not be delivered again, and return their names.

        Those are messages deleted a while ago, and messages older than a queue can keep one; where
        there are too many, the oldest as well.
        """
        since = max(FORGET_SECONDS, self.visibility)
        forgotten = self._oldest(self._deleted, now - since, len(self._deleted) - REMEMBERED)
        too_many = len(self._settled) + len(self._deleted) - REMEMBERED
        forgotten += self._oldest(self._settled, now - _RETENTION_SECONDS, too_many)
        return forgotten

    def _oldest(self, names: dict[str, float], before: float, too_many: int) -> list[str]:
        forgotten: list[str] = []
        for name, at in names.items():
            if len(forgotten) >= too_many and at > before:
                break
            # A message that is forgotten and delivered again is new: no call may delete it then.
            if name not in self._to_delete and name not in self._deleting:
                forgotten.append(name)
        for name in forgotten:
            del names[name]
        return forgotten
