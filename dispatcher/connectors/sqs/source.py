"""An SQS queue as a source: each message is a record, and is deleted when its outcome is durable.

``in_flight.py`` decides, this module waits and calls.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar

import anyio

from dispatcher import limits
from dispatcher.config.connectors import SourceSettings
from dispatcher.connectors.sqs.broadcast import Broadcast
from dispatcher.connectors.sqs.in_flight import Extension, InFlightMessages
from dispatcher.connectors.sqs.message import ReceivedMessage, SourceQueue, item_of_message
from dispatcher.environment import Environment
from dispatcher.errors import CallError, ConfigError, DispatcherError, Rejected
from dispatcher.records.record import Held, Item, Position
from dispatcher.records.source import Mark, MessageLog
from dispatcher.retry.backoff import backoff
from dispatcher.retry.outage_timer import OutageTimer

VISIBILITY_SECONDS = 30
"""Visibility time-out of a queue whose attributes may not be read: SQS's default (D)."""

MAX_UNREAD_MESSAGES = 500
MAX_UNREAD_BYTES = 8_000_000
"""No more is received while so much waits to be read."""

MAX_UNDELETED = 2_000
"""No more is received while so many settled messages wait to be deleted."""

_WORKERS = 4
"""Parallel calls that delete, and as many that hide messages again."""

CALLS = 2 * _WORKERS
"""Calls at once, besides those that receive."""

_PAUSE_SECONDS = 1.0
"""Longest wait after a failed call; the shortest is half of it."""

_GATHER_SECONDS = 0.05
"""How long a settled message waits for others to share its call: it costs the same for ten."""

_FORGET_SECONDS = 10.0
"""How often messages that will not be delivered again are forgotten."""

_LAST_POLL_SECONDS = 1.0
"""How long calls that receive may still take at a stop: a message whose receiver is gone stays
hidden for the whole visibility time-out."""

FINISH_SECONDS = 20.0
"""How long the end of a run waits for settled messages to be deleted."""

_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)


@dataclass(slots=True, kw_only=True)
class SqsSource:
    """Receives messages, keeps them hidden, and deletes them; a ``Source``.

    A record's position is the number of its message in the order of arrival, which a message keeps
    through all its deliveries.

    Attributes:
        settings: The section ``source``.
        queue: The calls.
        message_log: What earlier processes of the run recorded about the queue's messages.
        outage_timer: Ends the run when the queue does not respond for too long.
        environment: Clock, and random numbers for jitter.
    """

    may_pause: ClassVar[bool] = True
    settings: SourceSettings
    queue: SourceQueue
    message_log: MessageLog
    outage_timer: OutageTimer
    environment: Environment
    _url: str = field(init=False)
    _in_flight: InFlightMessages = field(init=False)
    _opened: float = field(init=False)
    # Since when each receiver has received nothing; None: it received something, or is idle.
    _empty_since: list[float | None] = field(init=False)
    _unread: list[Held] = field(default_factory=list)
    _unread_bytes: int = 0
    _read_bytes: int = 0
    _is_closed: bool = False
    _polls: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _arrived: Broadcast = field(default_factory=Broadcast)
    _has_room: Broadcast = field(default_factory=Broadcast)
    _settled: Broadcast = field(default_factory=Broadcast)
    _stopped: anyio.Event = field(default_factory=anyio.Event)
    _finished: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        """Take over what the ledger recorded."""
        assert self.settings.queue_url is not None
        self._url = self.settings.queue_url
        self._in_flight = InFlightMessages(
            stream=self._url,
            log=self.message_log,
            visibility=VISIBILITY_SECONDS,
            rng=self.environment.rng,
        )
        self._opened = self.environment.now()
        self._empty_since = [None] * self.settings.receivers

    async def open(self, marks: Mapping[str, Mark], heads: Mapping[str, str]) -> dict[str, str]:
        """Read the queue's visibility time-out, see ``Source``.

        Raises:
            ConfigError: The queue cannot be a source.
        """
        del marks, heads  # a message that is delivered again is known by its name
        while True:
            try:
                attributes = await self.queue.attributes()
            except Rejected as error:
                raise ConfigError(f"source.queue_url: {error}") from error
            except CallError as error:
                self.outage_timer.failed(error)
                await self._pause()
                continue
            break
        self.outage_timer.succeeded()
        visibility = int((attributes or {}).get("VisibilityTimeout", VISIBILITY_SECONDS))
        if visibility == 0:
            raise ConfigError(
                f"source.queue_url: {self._url} has a VisibilityTimeout of 0, so each message "
                "would be delivered again at once; set it to 30 seconds or more"
            )
        self._in_flight.visibility = visibility
        self._opened = self.environment.now()
        return {}

    async def read(self) -> list[Item]:
        """Return the messages that have arrived, see ``Source``.

        Ends when the queue was empty for ``until_empty``, and every message that it delivered is
        settled and deleted; without ``until_empty`` only when ``stop`` is called.
        """
        while not self._is_closed:
            batch = [item for item in self._unread if self._is_wanted(item)]
            self._unread, self._unread_bytes = [], 0
            self._has_room.notify_all()
            if batch:
                self._read_bytes += sum(len(item.raw) for item in batch)
                return [*batch]
            await self._arrived.wait()
        return []

    async def run(self) -> None:
        """Receive, hide and delete messages, see ``Source``."""
        async with anyio.create_task_group() as group:
            for _ in range(_WORKERS):
                group.start_soon(self._keep_hidden)
                group.start_soon(self._delete)
            group.start_soon(self._forget)
            with self._polls:
                async with anyio.create_task_group() as polls:
                    for receiver in range(len(self._empty_since)):
                        polls.start_soon(self._receive, receiver)
            await self._give_back()
            self._stopped.set()
            await self._finished.wait()
            group.cancel_scope.cancel()

    def stop(self) -> None:
        """Receive no more, and give back messages that were not read."""
        if not self._is_closed:
            self._close(within=_LAST_POLL_SECONDS)

    def acknowledge(self, positions: Iterable[Position]) -> None:
        """Have the messages of these records deleted."""
        now = self.environment.now()
        for position in positions:
            assert position.message is not None
            self._in_flight.settle(position.message, now)
        self._settled.notify_all()

    async def finish(self) -> None:
        """Return when unread messages are given back and settled ones are deleted.

        What takes longer than ``FINISH_SECONDS`` is left: it is delivered again, and known then.
        """
        self.stop()
        with anyio.move_on_after(FINISH_SECONDS):
            await self._stopped.wait()
            while self._in_flight.undeleted:
                await self._has_room.wait()
        self._finished.set()

    async def aclose(self) -> None:
        """Do nothing: messages in flight are delivered again."""

    @property
    def bytes_expected(self) -> int | None:
        """None: nothing says what will be sent to the queue."""
        return None

    @property
    def bytes_read(self) -> int:
        """Bytes of the messages that this process has read."""
        return self._read_bytes

    # Receiving

    async def _receive(self, receiver: int) -> None:
        until_empty = self.settings.until_empty
        wait = limits.SQS_LONG_POLL_SECONDS
        if until_empty is not None:
            wait = min(wait, math.ceil(until_empty))
        while not self._is_closed:
            if self._is_full():
                self._empty_since[receiver] = None
                await self._has_room.wait()
                continue
            asked_at = self.environment.now()
            try:
                messages = await self.queue.receive(wait=wait)
            except CallError as error:
                self._empty_since[receiver] = None
                # The lost response may have held messages, which are hidden for now.
                self._in_flight.lost = self.environment.now()
                await self._failed(error)
                continue
            self.outage_timer.succeeded()
            if messages:
                self._empty_since[receiver] = None
                self._take(messages)
                continue
            if self._empty_since[receiver] is None:
                self._empty_since[receiver] = asked_at
            if until_empty is not None and await self._is_over(until_empty):
                self._close(within=0.0)

    def _take(self, messages: Sequence[ReceivedMessage]) -> None:
        now = self.environment.now()
        for message in messages:
            position = self._in_flight.arrive(message.id, message.receipt, now)
            if position is not None:
                item = item_of_message(position, message.body, self.settings)
                self._unread.append(item)
                self._unread_bytes += len(item.raw)
        self._arrived.notify_all()
        self._settled.notify_all()  # some may be settled already and only need to be deleted

    def _is_full(self) -> bool:
        return (
            len(self._unread) >= MAX_UNREAD_MESSAGES
            or self._unread_bytes >= MAX_UNREAD_BYTES
            or self._in_flight.undeleted >= MAX_UNDELETED
        )

    def _is_wanted(self, item: Item) -> bool:
        """Return whether an item still has to be read: an earlier delivery may be settled now."""
        assert item.position.message is not None
        return self._in_flight.is_outstanding(item.position.message)

    async def _is_over(self, until_empty: float) -> bool:
        """Return whether the queue is empty, as far as can be seen.

        Messages that another process had in flight when it died come back within one visibility
        time-out. The wait is shorter where the queue itself reports that it has nothing left. A
        queue that reports messages and delivers none has too many of them in flight.
        """
        if not self._is_quiet(until_empty):
            return False
        try:
            attributes = await self.queue.attributes() or {}
        except CallError:
            return False
        visible, *others = (attributes.get(name) for name in _COUNTS)
        back_by = max(self._opened, self._in_flight.lost) + self._in_flight.visibility
        is_used_up = self.environment.now() >= back_by or (visible == "0" and set(others) == {"0"})
        return visible in {"0", None} and is_used_up and self._is_quiet(until_empty)

    def _is_quiet(self, until_empty: float) -> bool:
        since = [at for at in self._empty_since if at is not None]
        return (
            len(since) == len(self._empty_since)
            and self.environment.now() - max(since) >= until_empty
            and not self._unread
            and (not self._in_flight.unsettled or self.message_log.is_idle())
            and not self._in_flight.undeleted
        )

    def _close(self, *, within: float) -> None:
        self._is_closed = True
        self._polls.deadline = anyio.current_time() + within
        self._arrived.notify_all()
        self._has_room.notify_all()

    async def _give_back(self) -> None:
        """Make unread messages visible to other consumers at once.

        A message that an earlier process of the run has sent stays hidden: it is this run's.
        """
        names = [item.position.message for item in self._unread if self._is_wanted(item)]
        self._unread, self._unread_bytes = [], 0
        outstanding = self.message_log.outstanding
        unread = [name for name in names if name is not None and name not in outstanding]
        receipts = self._in_flight.give_back(unread)
        for start in range(0, len(receipts), limits.SQS_BATCH_ENTRIES):
            with suppress(DispatcherError):  # they come back by themselves, only later
                batch = receipts[start : start + limits.SQS_BATCH_ENTRIES]
                await self.queue.change_visibility([(receipt, 0) for receipt in batch])

    # Hiding and deleting

    async def _keep_hidden(self) -> None:
        in_flight = self._in_flight
        while True:
            asked_at = self.environment.now()
            if not (extensions := in_flight.due_extensions(asked_at)):
                # No message that arrives meanwhile is due sooner than that.
                wait = in_flight.visibility / 6
                if in_flight.next_extension is not None:
                    wait = min(wait, max(in_flight.next_extension - asked_at, 0.0))
                await anyio.sleep(wait)
                continue
            try:
                failed = await self.queue.change_visibility(
                    [(e.receipt, e.seconds) for e in extensions]
                )
            except CallError as error:
                for extension in extensions:
                    self._not_hidden(extension, error)
                await self._failed(error)
                continue
            self.outage_timer.succeeded()
            for index, extension in enumerate(extensions):
                if (entry_error := failed.get(index)) is None:
                    in_flight.extended(extension, asked_at)
                else:
                    self._not_hidden(extension, entry_error)

    def _not_hidden(self, extension: Extension, error: CallError) -> None:
        if isinstance(error, Rejected):
            self._in_flight.stale(extension, self.environment.now())
        else:
            self._in_flight.not_extended(extension, self.environment.now())

    async def _delete(self) -> None:
        in_flight = self._in_flight
        while True:
            while not in_flight.deletable:
                await self._settled.wait()
            if in_flight.deletable < limits.SQS_BATCH_ENTRIES:
                await anyio.sleep(_GATHER_SECONDS)
            taken = in_flight.deletions()
            if not taken:
                continue
            call_error: CallError | None = None
            failed: Mapping[int, CallError] = {}
            try:
                failed = await self.queue.delete([receipt for _, receipt in taken])
            except CallError as error:
                call_error = error
            for index, (name, receipt) in enumerate(taken):
                entry_error = call_error or failed.get(index)
                if entry_error is None:
                    in_flight.deleted(name, self.environment.now())
                elif isinstance(entry_error, Rejected):
                    in_flight.undeletable(name, self.environment.now())
                else:
                    in_flight.not_deleted(name, receipt)
            self._has_room.notify_all()
            if call_error is not None:
                await self._failed(call_error)
                continue
            self.outage_timer.succeeded()
            if failed:
                await self._pause()

    async def _forget(self) -> None:
        while True:
            if names := self._in_flight.forget(self.environment.now()):
                self.message_log.forget(names)
            await anyio.sleep(_FORGET_SECONDS)

    async def _failed(self, error: CallError) -> None:
        self.outage_timer.failed(error)
        await self._pause()

    async def _pause(self) -> None:
        jitter = self.environment.rng.random()
        await anyio.sleep(backoff(1, base=_PAUSE_SECONDS, cap=_PAUSE_SECONDS, jitter=jitter))
