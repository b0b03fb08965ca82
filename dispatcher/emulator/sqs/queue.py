"""One SQS standard queue, as a pure state machine: every call takes the time."""

import hashlib
import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from dispatcher import limits

RETENTION_SECONDS = 345_600
"""Default time that a message is kept, in seconds (D: 4 days)."""

_SPARE_ENTRIES = 1000


@dataclass(slots=True, eq=False, kw_only=True)
class StoredMessage:
    """One message.

    Attributes:
        number: Its number in the queue; begins every receipt handle.
        id: MessageId.
        body: The text.
        md5: MD5 of the text, in hexadecimal.
        attributes: Message attributes as the caller sent them.
        sent: When it was sent, in seconds since the epoch.
        receives: How often it was received.
        first_received: When it was first received; 0.0 before.
        invisible_until: When it is visible again; 0.0 while it is visible.
        deleted: Whether it is gone.
    """

    number: int
    id: str
    body: str
    md5: str
    attributes: dict[str, Any]
    sent: float
    receives: int = 0
    first_received: float = 0.0
    invisible_until: float = 0.0
    deleted: bool = False

    @property
    def receipt(self) -> str:
        """The receipt handle of the latest receive."""
        return f"{self.number}-{self.receives}-{self.id}"


@dataclass(slots=True, kw_only=True)
class MessageQueue:
    """Messages in order of arrival; those received are invisible for a while.

    All calls take constant or logarithmic time, amortised.

    Attributes:
        visibility: Default visibility time-out in seconds.
        retention: How long a message is kept, in seconds, whether it is in flight or not.
    """

    visibility: float = 30.0
    retention: float = RETENTION_SECONDS
    _visible: deque[StoredMessage] = field(default_factory=deque)
    _messages: dict[int, StoredMessage] = field(default_factory=dict)
    # Numbers in order of age, which is the order they were sent in.
    _ages: deque[int] = field(default_factory=deque)
    # (when, tie-breaker, message); an entry counts only if it matches the message's own time.
    _timers: list[tuple[float, int, StoredMessage]] = field(default_factory=list)
    _invisible: int = 0
    # Of those, the ones that were never received.
    _delayed: int = 0
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def send(
        self, body: str, *, message_id: str, now: float, delay: float = 0.0, attributes: Any = None
    ) -> StoredMessage:
        """Add a message that becomes visible after ``delay`` seconds."""
        md5 = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
        message = StoredMessage(
            number=next(self._numbers),
            id=message_id,
            body=body,
            md5=md5,
            attributes=attributes or {},
            sent=now,
        )
        self._messages[message.number] = message
        self._ages.append(message.number)
        if delay > 0:
            self._delayed += 1
            self._hide(message, now + delay)
        else:
            self._visible.append(message)
        return message

    def receive(
        self, max_messages: int, *, now: float, visibility: float | None = None
    ) -> list[StoredMessage]:
        """Take up to ``max_messages`` visible messages and hide them for ``visibility`` seconds."""
        self.wake(now)
        taken: list[StoredMessage] = []
        max_in_flight = limits.SQS_IN_FLIGHT_MESSAGES
        while self._visible and len(taken) < max_messages and self._in_flight < max_in_flight:
            message = self._visible.popleft()
            if message.deleted:
                continue
            message.receives += 1
            message.first_received = message.first_received or now
            taken.append(message)
            self._hide(message, now + (self.visibility if visibility is None else visibility))
        return taken

    @property
    def _in_flight(self) -> int:
        return self._invisible - self._delayed

    def _hide(self, message: StoredMessage, until: float) -> None:
        message.invisible_until = until
        self._invisible += 1
        heapq.heappush(self._timers, (until, next(self._numbers), message))
        if len(self._timers) > 2 * self._invisible + _SPARE_ENTRIES:
            # Deleted messages leave their timers behind, for up to twelve hours.
            self._timers = [t for t in self._timers if t[2].invisible_until == t[0]]
            heapq.heapify(self._timers)

    def wake(self, now: float) -> None:
        """Drop messages that are too old, and make visible those whose time has come."""
        while self._ages:
            oldest = self._messages.get(self._ages[0])
            if oldest is not None and oldest.sent + self.retention > now:
                break
            self._ages.popleft()
            if oldest is not None:
                self._remove(oldest)
        while self._visible and self._visible[0].deleted:
            self._visible.popleft()
        while self._timers and self._timers[0][0] <= now:
            until, _, message = heapq.heappop(self._timers)
            if message.invisible_until == until:
                self._no_longer_hidden(message)
                self._visible.append(message)

    def _no_longer_hidden(self, message: StoredMessage) -> None:
        message.invisible_until = 0.0
        self._invisible -= 1
        if not message.receives:
            self._delayed -= 1

    def next_wake(self) -> float | None:
        """Return when the next message may become visible, or None."""
        return self._timers[0][0] if self._timers else None

    def has_visible(self, now: float) -> bool:
        """Return whether a receive would find something."""
        self.wake(now)
        return bool(self._visible) and self._in_flight < limits.SQS_IN_FLIGHT_MESSAGES

    def delete(self, receipt: str) -> None:
        """Delete the message of a receipt handle.

        A handle that a later receive has replaced leaves the message, without an error; so does
        one whose message is gone.

        Raises:
            ValueError: It is no receipt handle of this queue.
        """
        message, current = self._find(receipt)
        if message is not None and current:
            self._remove(message)

    def _remove(self, message: StoredMessage) -> None:
        if message.invisible_until:
            self._no_longer_hidden(message)
        message.deleted = True
        del self._messages[message.number]
        if len(self._ages) > 2 * len(self._messages) + _SPARE_ENTRIES:
            # One message that stays for days must not keep the numbers of all that come after it.
            self._ages = deque(self._messages)

    def change_visibility(self, receipt: str, seconds: float, *, now: float) -> bool:
        """Hide a message for ``seconds`` from now; 0 makes it visible at once.

        Returns:
            Whether the message is in flight under this handle; if not, nothing is changed.

        Raises:
            ValueError: It is no receipt handle of this queue.
        """
        self.wake(now)
        message, current = self._find(receipt)
        if message is None or not current or not message.invisible_until:
            return False
        self._invisible -= 1
        self._hide(message, now + seconds)
        self.wake(now)
        return True

    def _find(self, receipt: str) -> tuple[StoredMessage | None, bool]:
        number, _, rest = receipt.partition("-")
        receives, _, message_id = rest.partition("-")
        if not (number.isdecimal() and receives.isdecimal() and message_id):
            raise ValueError(receipt)
        message = self._messages.get(int(number))
        if message is not None and message.id != message_id:
            raise ValueError(receipt)
        return message, message is not None and message.receives == int(receives)

    def purge(self) -> None:
        """Delete everything."""
        for message in self._messages.values():
            message.deleted = True
            message.invisible_until = 0.0
        self._messages.clear()
        self._visible.clear()
        self._ages.clear()
        self._timers.clear()
        self._invisible = self._delayed = 0

    def counts(self, now: float) -> tuple[int, int, int]:
        """Return the numbers of visible messages, of those in flight, and of delayed ones."""
        self.wake(now)
        return len(self._messages) - self._invisible, self._in_flight, self._delayed
