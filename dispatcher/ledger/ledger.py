"""The ledger: coordinator of the outstanding invocations in memory, in the store and in the spool.

Intents are durable before they can be sent; settlements, the sinks' positions and the source's
marks advance in one transaction.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import anyio

from dispatcher.flow.content import FileSlice
from dispatcher.ledger import ids
from dispatcher.ledger.group_commit import GroupCommit
from dispatcher.ledger.ids import InvocationNumbers
from dispatcher.ledger.invocation import Entry, Planned, RecordRef
from dispatcher.ledger.levels import LedgerStatistics, collect
from dispatcher.ledger.message_log import LedgerMessageLog
from dispatcher.ledger.operations import (
    Accept,
    Count,
    Plan,
    Remember,
    Replace,
    Restore,
    Settle,
    SinkMark,
)
from dispatcher.ledger.outcome import Settlement, messages_of, tallies_of
from dispatcher.ledger.payloads.payloads import Payloads, unreadable_payload
from dispatcher.ledger.payloads.spool import Spool
from dispatcher.ledger.replacement import PARTS, SPLIT, next_attempt, split_records
from dispatcher.ledger.replay import ReplayFilter
from dispatcher.ledger.resumption import resume
from dispatcher.ledger.staged_objects import StagedObjects
from dispatcher.ledger.states import Move, State, step
from dispatcher.ledger.store.sqlite import SqliteStore
from dispatcher.ledger.table import InvocationTable
from dispatcher.ledger.watermark import Watermark, adjoining
from dispatcher.packing.codec import Codec
from dispatcher.packing.parcel import Parcel, spooled_of
from dispatcher.records.source import Mark

_HAS_ACCEPTED = "accepted"
"""Name of the fact that the service has accepted something."""

REPEATED = "repeated"
"""Name of a total: invocations that may have reached the service more than once."""

_LOW_WATER_SHARE, _GATHER_SECONDS = 0.95, 0.05
"""Low-water mark as a share of ``outstanding``, and the longest wait for it: where the other places
are held for hours, one that is free is used."""


class Ledger:
    """An open ledger, made by ``open_ledger``.

    Attributes:
        tag: The run's tag, the beginning of all its invocation ids.
        is_new: This process began the run.
        replay: Positions that earlier processes of this run knew.
        resumed: Invocations of earlier processes that are not known to be accepted.
        staged: The objects in S3 that payloads were put into.
    """

    def __init__(
        self,
        store: SqliteStore,
        spool: Spool,
        *,
        outstanding: int,
        spool_max: int,
        codec: Codec,
        now: Callable[[], float],
        deletes_staged: bool,
    ) -> None:
        self._store = store
        self._spool = spool
        self._limit = outstanding
        self._low_water = min(outstanding - 1, int(outstanding * _LOW_WATER_SHARE))
        self._spool_max = spool_max
        self._payloads = Payloads(spool, codec)
        self._now = now
        resume(store.entries, now())
        self._table = InvocationTable(store.entries)
        self._entries = self._table.entries
        self._marks = store.marks
        self._group_commit = GroupCommit(store)
        self.staged = StagedObjects(store, self._group_commit, deletes=deletes_staged)
        self._changed = anyio.Event()
        self.is_new = "tag" not in store.facts
        self.tag = store.facts.get("tag") or ids.make_tag()
        self._numbers = InvocationNumbers(self.tag, store.last_number, is_resumed=bool(store.facts))
        self.replay = ReplayFilter.of(store.marks, store.entries)
        self.resumed = [entry.planned for entry in self.planned()]

    def __repr__(self) -> str:
        lost = self.outstanding - self._table.with_payload
        levels = f"{self.outstanding} of {self._limit} outstanding, {lost} without payload"
        return f"<Ledger {self.tag}: {levels}>"

    def statistics(self) -> LedgerStatistics:
        """Return the ledger's levels now, in time proportional to the outstanding invocations."""
        return collect(
            self._table,
            self._group_commit,
            self._payloads,
            self._spool,
            max_outstanding=self._limit,
            max_spool_bytes=self._spool_max,
        )

    # Facts about the run

    @property
    def marks(self) -> dict[str, Mark]:
        """The mark of each stream, from which it is resumed."""
        return {name: watermark.mark for name, watermark in self._marks.items()}

    def sink(self, path: str) -> SinkMark | None:
        """Return the part of a sink's file that belonged to the run at the start, or None."""
        return self._store.sinks.get(path)

    async def adopt(self, path: str, mark: SinkMark) -> None:
        """Record durably that a file belongs to the run; only such a file may be cut back."""
        await self._group_commit.write(Settle([], {}, {path: mark}))

    @property
    def tallies(self) -> Mapping[str, int]:
        """Totals at the start: settled records as ``completed`` and ``dead:<reason>``; others."""
        return self._store.tallies

    @property
    def has_accepted(self) -> bool:
        """True once the service accepted anything of this run, also in an earlier process."""
        return self.fact(_HAS_ACCEPTED) is not None

    @property
    def outstanding(self) -> int:
        """Invocations without an outcome now."""
        return len(self._entries)

    @property
    def outstanding_records(self) -> int:
        """Records of the outstanding invocations."""
        return self._table.records

    @property
    def stages(self) -> bool:
        """True if an outstanding invocation needs the bucket, now or when it is staged again."""
        return self._table.needs_staging

    def fact(self, name: str) -> str | None:
        """Return the value of a fact, or None."""
        return self._store.facts.get(name)

    async def remember(self, **facts: str) -> None:
        """Store facts about the run, durably."""
        self._store.facts |= facts
        await self._group_commit.write(*[Remember(name, value) for name, value in facts.items()])

    # Write ahead

    async def wait_for_room(self, wanted: int) -> int:
        """Wait until invocations may be planned; return their number, from 1 to ``wanted``.

        From the high-water mark on (``outstanding``, ``spool_max``) nothing is planned until there
        is room again, and then for a moment more until the low-water mark: otherwise each settled
        invocation would let in one other, in a transaction of its own.

        Invocations whose payload was lost do not count until it is found: a queue may deliver new
        messages before theirs, and only reading on makes room then.
        """
        while self._is_full():
            while self._is_full():
                await self._changed.wait()
            with anyio.move_on_after(_GATHER_SECONDS):
                while self._table.with_payload > self._low_water:
                    await self._changed.wait()
        return min(wanted, self._limit - self._table.with_payload)

    def _is_full(self) -> bool:
        return self._table.with_payload >= self._limit or self._spool.size >= self._spool_max

    async def plan(self, parcels: Sequence[Parcel]) -> list[Planned]:
        """Make the intent to send these parcels durable, and return the invocations.

        The caller has waited for room.

        Raises:
            StateError: The intent could not be stored; nothing may be sent.
        """
        spooled = [spooled_of(parcel) for parcel in parcels]
        entries = [self._new_entry(p, len(s)) for p, s in zip(parcels, spooled, strict=True)]
        await self._group_commit.write(Plan(entries, spooled))
        self._table.add(entries)
        for entry, parcel in zip(entries, parcels, strict=True):
            if parcel.payload:
                self._payloads.keep(entry.planned, parcel.payload)
        return [entry.planned for entry in entries]

    async def restore(self, number: int, spooled: bytes | FileSlice) -> None:
        """Spool the records of an invocation that were read again after a power loss."""
        await self._group_commit.write(Restore(self._entries[number], spooled))
        self._table.payload_restored(number)

    # Outstanding invocations

    def find(self, number: int) -> Entry | None:
        """Return an outstanding invocation, or None if it is settled or never was."""
        return self._entries.get(number)

    def find_id(self, invocation: str) -> tuple[bool, Entry | None]:
        """Return whether an id is of this run, and its invocation if that is outstanding."""
        number = ids.number_of(self.tag, invocation)
        return number is not None, self._entries.get(number or 0)

    def accept(self, planned: Planned, at: float, output: str | None, failure: str | None) -> bool:
        """Note that the service accepted an invocation; False if that came late.

        It is stored a moment later. A crash before that costs a look into S3, nothing more.
        """
        entry = self._entries.get(planned.number)
        state = step(entry.state if entry else State.SETTLED, Move.ACCEPT)
        if entry is None or state is None:
            return False
        entry.state, entry.accepted_at = state, at
        entry.output, entry.failure = output, failure
        self._table.index_outputs(entry)
        self._group_commit.later(Accept(planned.number, at, output, failure))
        self._note_accepted()
        return True

    def find_output(self, location: str) -> Entry | None:
        """Return the outstanding invocation whose output or failure the service put there."""
        return self._table.find_output(location)

    def claim(self, entry: Entry) -> bool:
        """Take the right to settle an invocation; False if it is taken, or the invocation is over.

        A caller that does not settle it gives the right back: ``release``.
        """
        if entry.claimed or self._entries.get(entry.planned.number) is not entry:
            return False
        entry.claimed = True
        return True

    def release(self, entry: Entry) -> None:
        """Give back the right to settle an invocation."""
        entry.claimed = False

    async def payload(self, entry: Entry) -> bytes | None:
        """Return the payload of an invocation; None while it is lost and not yet read again."""
        return await self._payloads.read(entry)

    async def kept(self, entry: Entry) -> bytes | FileSlice | None:
        """Return the spooled bytes of an invocation's records; None while they are lost."""
        return await self._payloads.spooled(entry)

    async def raws(self, entry: Entry) -> list[bytes | FileSlice | None]:
        """Return the raw bytes of each record of an invocation; None where they are lost."""
        return await self._payloads.raws(entry)

    def without_payload(self) -> list[Entry]:
        """Return the invocations whose payload a power loss took and that is not found again."""
        return self._table.without_payload()

    def planned(self) -> list[Entry]:
        """Return the invocations that are not known to be accepted."""
        return self._table.planned()

    def accepted(self) -> list[Entry]:
        """Return the invocations that were accepted and are not being settled."""
        return self._table.accepted()

    # Settle

    async def settle(
        self, settlements: Sequence[Settlement], sinks: Mapping[str, SinkMark]
    ) -> None:
        """Close invocations whose outcomes are durable in the sinks up to ``sinks``.

        Raises:
            StateError: It could not be stored; the sinks are cut back at the next start.
        """
        entries = [s.entry for s in settlements if s.entry is not None]
        tallies = tallies_of(settlements)
        touched: dict[str, Watermark] = {}
        for settlement in settlements:
            for span in adjoining([outcome.position for outcome in settlement.outcomes]):
                touched[span.stream] = self._marks.setdefault(span.stream, Watermark())
                touched[span.stream].settle(span)
        if any(s.entry and s.outcomes[0].status != "rejected" for s in settlements):
            self._note_accepted()
        for entry in entries:
            step(entry.state, Move.SETTLE)
            entry.state = State.SETTLED
        changes = {stream: watermark.changes() for stream, watermark in touched.items()}
        messages = messages_of(settlements)
        discarded = self.staged.close(entries)
        await self._group_commit.write(
            Settle(entries, changes, dict(sinks), tallies, messages, self._now(), discarded)
        )
        self.staged.offer(discarded)
        for entry in entries:
            self._close(entry)
        self._notify()

    async def replace(self, entry: Entry, *, after: float, parts: int = 1) -> list[Planned]:
        """Close an invocation that failed, and plan new ones for its records, in one transaction.

        Args:
            entry: Claimed by the caller; its records are there.
            after: Seconds from now before which the new ones must not be sent.
            parts: Number of invocations that share the records, in order; at most one a record.

        Raises:
            StateError: It could not be stored, or its records cannot be read.
        """
        new = await self._next_attempts(entry, after, parts)
        step(entry.state, Move.REPLACE)
        entry.state = State.REPLACED
        counts = [Count(SPLIT), Count(PARTS, parts)] if parts > 1 else []
        discarded = self.staged.close([entry], new)
        await self._group_commit.write(Replace(entry, new, discarded), *counts)
        self.staged.offer(discarded)
        self._close(entry)
        self._table.add(new)
        return [attempt.planned for attempt in new]

    async def _next_attempts(self, entry: Entry, after: float, parts: int) -> list[Entry]:
        now, old = self._now(), entry.planned
        if parts == 1:
            planned = self._numbers.next_attempt(old, old.size)
            return [next_attempt(entry, planned, now, after=after)]
        spooled = await self._payloads.spooled(entry)
        if not isinstance(spooled, bytes):  # a large record is alone, it has no parts
            raise unreadable_payload(old)
        new = []
        for record_refs, ref in split_records(entry, spooled, parts):
            planned = self._numbers.next_attempt(old, ref.size)
            part = next_attempt(entry, planned, now, after=after)
            part.record_refs, part.payload, part.crc, part.staged = record_refs, ref, ref.crc, None
            part.first_attempt = part.attempt
            new.append(part)
        return new

    def _close(self, entry: Entry) -> None:
        self._table.remove(entry)
        self._payloads.release(entry.planned)

    def messages(self, stream: str) -> LedgerMessageLog:
        """Return the messages of a queue that the run has seen."""
        store, group_commit = self._store, self._group_commit
        return LedgerMessageLog.of(stream, store, self.replay, group_commit, self.is_idle)

    def leave_to_next_process(self, numbers: Iterable[int]) -> None:
        """Leave invocations to the next process, because this one will not send them."""
        self._table.leave_to_next_process(numbers)
        self._notify()

    def reclaim(self, number: int) -> None:
        """Wait again for an invocation that was left to the next process."""
        self._table.reclaim(number)

    async def count(self, name: str) -> None:
        """Add one to a total over all processes of the run, durably."""
        await self._group_commit.write(Count(name))

    async def wait_until_idle(self) -> None:
        """Wait until every outstanding invocation is left to the next process, or there is none."""
        while not self._table.is_idle:
            await self._changed.wait()

    def is_idle(self) -> bool:
        """Return whether every outstanding invocation is left to the next process."""
        return self._table.is_idle

    async def flush_forever(self) -> None:
        """Store acceptances, which no task waits for, until cancelled."""
        await self._group_commit.flush_forever()

    async def aclose(self) -> None:
        """Write the operations that still wait."""
        await self._group_commit.aclose()

    def _new_entry(self, parcel: Parcel, size: int) -> Entry:
        planned = self._numbers.planned(parcel.content_type, parcel.route, size, parcel.encoding)
        record_refs = [RecordRef(r.position, r.key, r.size) for r in parcel.records]
        return Entry(planned, record_refs, None, 0, self._now())

    def _note_accepted(self) -> None:
        if not self.has_accepted:
            self._store.facts[_HAS_ACCEPTED] = "yes"
            self._group_commit.later(Remember(_HAS_ACCEPTED, "yes"))

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
