"""An SQS queue as a source: what it delivers is kept in hand until its outcome is durable.

One message is one JSON value is one record. ``deliveries.py`` decides, this waits and calls.
"""

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar

import anyio

from dispatcher import limits
from dispatcher.config.connectors import SourceSettings
from dispatcher.connectors.sqs.in_flight import Beat, Deliveries
from dispatcher.connectors.sqs.message import Delivery, Patience, SourceQueue, item_of_message
from dispatcher.errors import CallError, ConfigError, DispatcherError, Rejected
from dispatcher.records.record import Held, Item, Position
from dispatcher.records.source import Mark, MessageLog

VISIBILITY_SECONDS = 30
"""The visibility time-out of a queue whose attributes may not be read: SQS's default (D)."""

WAITING_MESSAGES = 500
WAITING_BYTES = 8_000_000
"""When nobody reads, no more is received from either of these on."""

UNDELETED = 2_000
"""Nor while so many settled messages wait to be deleted."""

_HELPERS = 4
"""Parallel calls that delete, and as many that hide anew."""

CALLS = 2 * _HELPERS
"""Calls at once, besides those that receive."""

_PAUSE_SECONDS = 1.0
"""Wait after a failed call, with jitter."""

_GATHER_SECONDS = 0.05
"""How long a settled message waits for others to be deleted with: a call costs the same for ten."""

_FORGET_SECONDS = 10.0
"""How often what will not come again is forgotten."""

_LAST_POLL_SECONDS = 1.0
"""How long calls that receive may take to come back at a stop: a message whose receiver is gone
stays hidden for the whole visibility time-out."""

FINISH_SECONDS = 20.0
"""How long the end of a run waits for what is to be deleted."""

_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)


class _Signal:
    """Wakes whoever waits now."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def send(self) -> None:
        self._event.set()
        self._event = anyio.Event()

    async def wait(self) -> None:
        await self._event.wait()


@dataclass(slots=True)
class SqsSource:
    """Receives, keeps hidden, and deletes; a ``Source``.

    A record's position is the number of its message in the order of arrival, which a message keeps
    through all its deliveries.

    Attributes:
        settings: The section ``source``.
        queue: The calls.
        log: What earlier processes of the run knew of the queue's messages.
        patience: Counts failed calls.
        now: Epoch seconds on a steady clock.
        rng: Jitters what must not happen at once.
    """

    may_pause: ClassVar[bool] = True
    settings: SourceSettings
    queue: SourceQueue
    log: MessageLog
    patience: Patience
    now: Callable[[], float]
    rng: random.Random
    _url: str = field(init=False)
    _deliveries: Deliveries = field(init=False)
    _opened: float = field(init=False)
    # Since when each receiver has got nothing; None: it has got something, or does not ask.
    _quiet: list[float | None] = field(init=False)
    _waiting: list[Held] = field(default_factory=list)
    _waiting_bytes: int = 0
    _read_bytes: int = 0
    _is_closed: bool = False
    _polls: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _arrived: _Signal = field(default_factory=_Signal)
    _room: _Signal = field(default_factory=_Signal)
    _settled: _Signal = field(default_factory=_Signal)
    _silent: anyio.Event = field(default_factory=anyio.Event)
    _finished: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        """Know what the ledger knows."""
        assert self.settings.queue_url is not None
        self._url = self.settings.queue_url
        self._deliveries = Deliveries(self._url, self.log, VISIBILITY_SECONDS, self.rng)
        self._opened = self.now()
        self._quiet = [None] * self.settings.receivers

    async def open(self, marks: Mapping[str, Mark], heads: Mapping[str, str]) -> dict[str, str]:
        """Ask the queue for its visibility time-out, see ``Source``.

        Raises:
            ConfigError: It is a queue that cannot be a source.
        """
        del marks, heads  # what comes again is known by its name
        while True:
            try:
                told = await self.queue.attributes()
            except Rejected as error:
                raise ConfigError(f"source.queue_url: {error}") from error
            except CallError as error:
                self.patience.failed(error)
                await self._pause()
                continue
            break
        self.patience.succeeded()
        visibility = int((told or {}).get("VisibilityTimeout", VISIBILITY_SECONDS))
        if visibility == 0:
            raise ConfigError(
                f"source.queue_url: {self._url} has a VisibilityTimeout of 0, so each message "
                "would be delivered again at once; set it to 30 seconds or more"
            )
        self._deliveries.visibility = visibility
        self._opened = self.now()
        return {}

    async def read(self) -> list[Item]:
        """Return what has arrived, see ``Source``.

        Ends when the queue was empty for ``until_empty``, and all that it delivered is settled and
        deleted; without ``until_empty`` only when ``stop`` is called.
        """
        while not self._is_closed:
            batch = [item for item in self._waiting if self._is_wanted(item)]
            self._waiting, self._waiting_bytes = [], 0
            self._room.send()
            if batch:
                self._read_bytes += sum(len(item.raw) for item in batch)
                return [*batch]
            await self._arrived.wait()
        return []

    async def run(self) -> None:
        """Receive, hide anew and delete, see ``Source``."""
        async with anyio.create_task_group() as group:
            for _ in range(_HELPERS):
                group.start_soon(self._keep_hidden)
                group.start_soon(self._delete)
            group.start_soon(self._forget)
            with self._polls:
                async with anyio.create_task_group() as polls:
                    for place in range(len(self._quiet)):
                        polls.start_soon(self._receive, place)
            await self._give_back()
            self._silent.set()
            await self._finished.wait()
            group.cancel_scope.cancel()

    def stop(self) -> None:
        """Receive no more, and give back what was not read."""
        if not self._is_closed:
            self._close(within=_LAST_POLL_SECONDS)

    def acknowledge(self, positions: Iterable[Position]) -> None:
        """Delete the messages of these records, in a while."""
        now = self.now()
        for position in positions:
            assert position.message is not None
            self._deliveries.settle(position.message, now)
        self._settled.send()

    async def finish(self) -> None:
        """Return when what was not read is given back and all that is settled is deleted.

        Whatever of it takes too long is left: it is delivered again, and known then.
        """
        self.stop()
        with anyio.move_on_after(FINISH_SECONDS):
            await self._silent.wait()
            while self._deliveries.undeleted:
                await self._room.wait()
        self._finished.set()

    async def aclose(self) -> None:
        """Do nothing: what is in hand is delivered again."""

    @property
    def bytes_expected(self) -> int | None:
        """Nobody knows what will be sent."""
        return None

    @property
    def bytes_read(self) -> int:
        """Bytes of the messages that this process has read."""
        return self._read_bytes

    # Receiving

    async def _receive(self, place: int) -> None:
        until_empty = self.settings.until_empty
        wait = limits.SQS_LONG_POLL_SECONDS
        if until_empty is not None:
            wait = min(wait, math.ceil(until_empty))
        while not self._is_closed:
            if self._is_full():
                self._quiet[place] = None
                await self._room.wait()
                continue
            asked = self.now()
            try:
                messages = await self.queue.receive(wait=wait)
            except CallError as error:
                self._quiet[place] = None
                # The lost answer may have held messages, which are hidden for now.
                self._deliveries.lost = self.now()
                await self._failed(error)
                continue
            self.patience.succeeded()
            if messages:
                self._quiet[place] = None
                self._take(messages)
                continue
            if self._quiet[place] is None:
                self._quiet[place] = asked
            if until_empty is not None and await self._is_over(until_empty):
                self._close(within=0.0)

    def _take(self, messages: Sequence[Delivery]) -> None:
        now = self.now()
        for message in messages:
            position = self._deliveries.arrive(message.id, message.receipt, now)
            if position is not None:
                item = item_of_message(position, message.body, self.settings)
                self._waiting.append(item)
                self._waiting_bytes += len(item.raw)
        self._arrived.send()
        self._settled.send()  # some may only have to be deleted

    def _is_full(self) -> bool:
        return (
            len(self._waiting) >= WAITING_MESSAGES
            or self._waiting_bytes >= WAITING_BYTES
            or self._deliveries.undeleted >= UNDELETED
        )

    def _is_wanted(self, item: Item) -> bool:
        """Return whether an item is still to be read: an earlier delivery may be settled now."""
        assert item.position.message is not None
        return self._deliveries.is_outstanding(item.position.message)

    async def _is_over(self, until_empty: float) -> bool:
        """Return whether the queue is empty, as far as anybody can tell.

        What another process had in hand when it died comes back within one visibility time-out. Not
        so long is waited where the queue itself says that it has nothing left. One that has, and
        gives nothing, has too many messages in flight.
        """
        if not self._is_quiet(until_empty):
            return False
        try:
            told = await self.queue.attributes() or {}
        except CallError:
            return False
        visible, *others = (told.get(name) for name in _COUNTS)
        back_by = max(self._opened, self._deliveries.lost) + self._deliveries.visibility
        is_used_up = self.now() >= back_by or (visible == "0" and set(others) == {"0"})
        return visible in {"0", None} and is_used_up and self._is_quiet(until_empty)

    def _is_quiet(self, until_empty: float) -> bool:
        since = [at for at in self._quiet if at is not None]
        return (
            len(since) == len(self._quiet)
            and self.now() - max(since) >= until_empty
            and not self._waiting
            and (not self._deliveries.unsettled or self.log.is_idle())
            and not self._deliveries.undeleted
        )

    def _close(self, *, within: float) -> None:
        self._is_closed = True
        self._polls.deadline = anyio.current_time() + within
        self._arrived.send()
        self._room.send()

    async def _give_back(self) -> None:
        """Let others have at once what nobody is going to read here.

        What an earlier process of the run has sent stays hidden: it is this run's.
        """
        names = [item.position.message for item in self._waiting if self._is_wanted(item)]
        self._waiting, self._waiting_bytes = [], 0
        ours = self.log.outstanding
        unread = [name for name in names if name is not None and name not in ours]
        receipts = self._deliveries.give_back(unread)
        for start in range(0, len(receipts), limits.SQS_BATCH_ENTRIES):
            with suppress(DispatcherError):  # it comes back by itself, only later
                some = receipts[start : start + limits.SQS_BATCH_ENTRIES]
                await self.queue.change_visibility([(receipt, 0) for receipt in some])

    # Keeping and deleting

    async def _keep_hidden(self) -> None:
        deliveries = self._deliveries
        while True:
            asked = self.now()
            if not (beats := deliveries.beats(asked)):
                # Nothing that arrives meanwhile is due sooner than that.
                wait = deliveries.visibility / 6
                if deliveries.next_beat is not None:
                    wait = min(wait, max(deliveries.next_beat - asked, 0.0))
                await anyio.sleep(wait)
                continue
            try:
                failed = await self.queue.change_visibility([(b.receipt, b.seconds) for b in beats])
            except CallError as error:
                for beat in beats:
                    self._not_hidden(beat, error)
                await self._failed(error)
                continue
            self.patience.succeeded()
            for index, beat in enumerate(beats):
                if (why := failed.get(index)) is None:
                    deliveries.beaten(beat, asked)
                else:
                    self._not_hidden(beat, why)

    def _not_hidden(self, beat: Beat, why: CallError) -> None:
        if isinstance(why, Rejected):
            self._deliveries.stale(beat, self.now())
        else:
            self._deliveries.not_beaten(beat, self.now())

    async def _delete(self) -> None:
        deliveries = self._deliveries
        while True:
            while not deliveries.deletable:
                await self._settled.wait()
            if deliveries.deletable < limits.SQS_BATCH_ENTRIES:
                await anyio.sleep(_GATHER_SECONDS)
            taken = deliveries.deletions()
            if not taken:
                continue
            error: CallError | None = None
            failed: Mapping[int, CallError] = {}
            try:
                failed = await self.queue.delete([receipt for _, receipt in taken])
            except CallError as raised:
                error = raised
            for index, (name, receipt) in enumerate(taken):
                why = error or failed.get(index)
                if why is None:
                    deliveries.deleted(name, self.now())
                elif isinstance(why, Rejected):
                    deliveries.undeletable(name, self.now())
                else:
                    deliveries.not_deleted(name, receipt)
            self._room.send()
            if error is not None:
                await self._failed(error)
                continue
            self.patience.succeeded()
            if failed:
                await self._pause()

    async def _forget(self) -> None:
        while True:
            if names := self._deliveries.forget(self.now()):
                self.log.forget(names)
            await anyio.sleep(_FORGET_SECONDS)

    async def _failed(self, error: CallError) -> None:
        self.patience.failed(error)
        await self._pause()

    async def _pause(self) -> None:
        await anyio.sleep(_PAUSE_SECONDS * self.rng.uniform(0.5, 1.0))
