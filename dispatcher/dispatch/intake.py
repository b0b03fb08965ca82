"""The intake: reads records, skips what is known, packs, and makes intents durable.

One task reads and packs in batches. Where the source may pause, a second one sends a payload that
has waited for more records long enough; the two take turns, and the one that has the turn may pack
on a worker thread. Only pauses of the source count: how long packing takes, or planning is held
back, has no effect on what is packed together. So what a run over files sends depends on its input
and its configuration alone, and ``plan`` can predict it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectSendStream

from dispatcher.errors import StateError
from dispatcher.flow.budget import MemoryBudget, Reservation
from dispatcher.flow.channel import send_eagerly
from dispatcher.flow.content import ChangedError, FileSlice
from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.outcome import Outcome, Settlement
from dispatcher.ledger.replay import Seen
from dispatcher.observe.events import InvocationsPlanned, Observer, RecordsRejected
from dispatcher.packing.packer import Packer, RefusedRecord
from dispatcher.packing.parcel import Parcel, sent_bytes
from dispatcher.packing.spool_format import crc32_of, spooled_before
from dispatcher.records.record import Item, LargeRecord, Position, Record, Unreadable
from dispatcher.records.source import Source
from dispatcher.retry.invocations import SplitBudget


@dataclass(slots=True, kw_only=True)
class Intake:
    """The head of a run: ``run`` ends with the source, or early by ``stop``.

    Attributes:
        source: Gives records.
        packer: Makes parcels of records.
        ledger: Makes invocations of parcels, durably.
        resend: Takes invocations whose lost payload was read again.
        intents: To the senders.
        settlements: To the settler: records that cannot be sent.
        memory: Bounds what is packed and refused.
        split_budget: Grows with the records that are read.
        observe: Gets the events.
        monotonic: Seconds on a steady clock.
    """

    source: Source
    packer: Packer
    ledger: Ledger
    resend: Callable[[Planned], None]
    intents: MemoryObjectSendStream[Planned]
    settlements: MemoryObjectSendStream[list[Settlement]]
    memory: MemoryBudget
    split_budget: SplitBudget
    observe: Observer
    monotonic: Callable[[], float]
    _held_back: float = 0.0
    _turn: anyio.Lock = field(default_factory=anyio.Lock)
    _opened: anyio.Event = field(default_factory=anyio.Event)
    _waiting: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _lost: dict[int, dict[tuple[str, int], bytes | FileSlice]] = field(default_factory=dict)

    async def run(self) -> None:
        """Read, pack and plan until the source ends or ``stop`` is called.

        What is packed and not yet planned at a stop is read again by the next process.
        """
        async with self.intents, self.settlements, anyio.create_task_group() as group:
            if self.source.may_pause:
                group.start_soon(self._linger)
            with self._waiting:
                while items := await self.source.read():
                    async with self._turn:
                        await self._take(items)
                async with self._turn:
                    await self._plan(await self._flush())
                self._check_nothing_lost()
            group.cancel_scope.cancel()

    def stop(self) -> None:
        """Read no more; what is planned already goes on."""
        self._waiting.cancel()

    async def _take(self, items: Sequence[Item]) -> None:
        records: list[Record | LargeRecord] = []
        dead: list[Outcome] = []
        replay = self.ledger.replay
        for item in items:
            seen, entry = replay.look_up(item.position)
            if seen is Seen.NEW:
                if isinstance(item, Unreadable):
                    dead.append(_unreadable(item))
                else:
                    records.append(item)
            elif seen is Seen.CHANGED:
                raise _changed(item.position)
            elif seen is Seen.LOST and entry is not None and not isinstance(item, Unreadable):
                await self._recover(entry, item)
        if dead:
            await self._refuse(dead)
        try:
            packed = await self._pack(records)
        except ChangedError as error:
            raise StateError(
                f"the input changed while it was read: {error}. Restore it, and run the same "
                "command again"
            ) from None
        await self._plan(packed)
        if self.packer.deadline is not None:
            self._opened.set()

    async def _pack(self, records: Sequence[Record | LargeRecord]) -> list[Parcel | RefusedRecord]:
        """Return what became full; anything slow is done on a worker thread.

        A stop waits for the thread, which nothing may disturb; what it packed is then left to the
        next process, like all that is not planned yet.
        """
        now = self._clock()
        if not self.packer.is_slow(records):
            return self.packer.add(records, now)
        reservation = Reservation(self.memory)
        with self._clock_stopped():
            try:
                if wanted := self.packer.read_bytes(records):
                    await reservation.acquire(wanted)
                return await anyio.to_thread.run_sync(self.packer.add, records, now)
            finally:
                reservation.release()

    async def _flush(self) -> list[Parcel | RefusedRecord]:
        if self.packer.deadline is None or not self.packer.is_slow(()):
            return self.packer.flush()
        with self._clock_stopped():
            return await anyio.to_thread.run_sync(self.packer.flush)

    async def _plan(self, packed: Sequence[Parcel | RefusedRecord]) -> None:
        refused = [_refused(item) for item in packed if isinstance(item, RefusedRecord)]
        if refused:
            await self._refuse(refused)
        parcels = [item for item in packed if isinstance(item, Parcel)]
        while parcels:
            with self._clock_stopped():
                room = await self.ledger.wait_for_room(len(parcels))
                batch, parcels = parcels[:room], parcels[room:]
                # From the intent to the senders in one piece: a stop in between would leave it
                # unsent.
                with anyio.CancelScope(shield=True):
                    for planned in await self.ledger.plan(batch):
                        await self._hand_over(planned)
            self._report(batch)

    def _report(self, parcels: Sequence[Parcel]) -> None:
        event = InvocationsPlanned(Counter(), Counter(), Counter())
        for parcel in parcels:
            event.invocations[parcel.route] += 1
            event.records[parcel.route] += len(parcel.records)
            event.payload_bytes[parcel.route] += sent_bytes(parcel)
        self.split_budget.read += event.records.total()
        self.observe(event)

    async def _hand_over(self, planned: Planned) -> None:
        """Give an intent to the senders; if they were cancelled, the next process sends it."""
        with suppress(anyio.BrokenResourceError):
            await send_eagerly(self.intents, planned)

    async def _refuse(self, outcomes: list[Outcome]) -> None:
        settlement = Settlement(None, outcomes)
        settlement.reservation = reservation = Reservation(self.memory)
        try:
            with self._clock_stopped():
                await reservation.acquire(settlement.size)
                await self.settlements.send([settlement])
        except BaseException:
            reservation.release()
            raise
        self.split_budget.read += len(outcomes)
        self.observe(RecordsRejected(len(outcomes)))

    async def _linger(self) -> None:
        while True:
            await self._opened.wait()
            self._opened = anyio.Event()
            wait: float | None = 0.0
            while wait is not None:
                await anyio.sleep(wait)
                async with self._turn:
                    wait = await self._send_what_is_due()

    async def _send_what_is_due(self) -> float | None:
        """Return the seconds until the next payload is due; None where nothing waits."""
        if (deadline := self.packer.deadline) is None:
            return None
        if (wait := deadline - self._clock()) > 0:
            return wait
        await self._plan(await self._flush())
        return None

    def _clock(self) -> float:
        """Return seconds on a clock that stands still while this waits for the rest of the run."""
        return self.monotonic() - self._held_back

    @contextmanager
    def _clock_stopped(self) -> Iterator[None]:
        began = self.monotonic()
        try:
            yield
        finally:
            self._held_back += self.monotonic() - began

    async def _recover(self, entry: Entry, record: Record | LargeRecord) -> None:
        """Collect the records of a payload that a power loss took, until it is whole."""
        number = entry.planned.number
        contents = self._lost.setdefault(number, {})
        content = record.raw if isinstance(record, Record) else record.content
        contents[record.position.stream, record.position.start] = content
        if len(contents) < len(entry.record_refs):
            return
        del self._lost[number]
        places = [
            (record_ref.position.stream, record_ref.position.start)
            for record_ref in entry.record_refs
        ]
        spooled = spooled_before([contents[place] for place in places], entry.planned.size)
        try:
            crc = await anyio.to_thread.run_sync(crc32_of, spooled)  # a large one takes a second
        except ChangedError:
            crc = None
        if crc != entry.crc:
            raise _changed(entry.record_refs[0].position)
        if self.ledger.find(number) is None:
            return
        with anyio.CancelScope(shield=True):
            await self.ledger.restore(number, spooled)
        self.resend(entry.planned)

    def _check_nothing_lost(self) -> None:
        for entry in self.ledger.without_payload():
            raise _missing(entry.record_refs[0].position)


def _changed(position: Position) -> StateError:
    return StateError(
        f"the input changed since the run began: the record at {position.stream} line "
        f"{position.line} is not what the ledger recorded. Restore the input, or begin a new run "
        "with another file in ledger.path"
    )


def _missing(position: Position) -> StateError:
    if position.message is None:
        return _changed(position)
    return StateError(
        f"a payload was lost with the power, and {position.stream} has not delivered its message "
        f"{position.message} again. Run the same command again, later"
    )


def _unreadable(item: Unreadable) -> Outcome:
    reason = item.reason
    return Outcome.dead(item.position, item.key, reason, item.message, input=item.raw or None)


def _refused(item: RefusedRecord) -> Outcome:
    record = item.record
    return Outcome.dead(
        record.position,
        record.key,
        item.reason,
        item.message,
        input=record.raw if isinstance(record, Record) else record.content,
    )
