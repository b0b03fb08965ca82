"""The ledger: the one place that knows what is outstanding, in memory and on disk.

Intents are durable before anybody can send them; settlements, the sinks' positions and the source's
marks advance in one transaction.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import anyio
import anyio.to_thread

from dispatcher.flow.content import FileSlice
from dispatcher.ledger import ids
from dispatcher.ledger.group_commit import GroupCommit
from dispatcher.ledger.invocation import Entry, Planned, RecordRef
from dispatcher.ledger.message_log import LedgerMessageLog
from dispatcher.ledger.numbering import InvocationNumbers
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
from dispatcher.ledger.output_index import OutputIndex
from dispatcher.ledger.payloads.payloads import Payloads, unreadable_payload
from dispatcher.ledger.payloads.spool import Spool
from dispatcher.ledger.replacement import PARTS, SPLIT, parts_of, renewed
from dispatcher.ledger.replay import ReplayFilter
from dispatcher.ledger.settlement import Settlement, messages_of, tallies_of
from dispatcher.ledger.staged_objects import StagedObjects
from dispatcher.ledger.states import Move, State, step
from dispatcher.ledger.store.sqlite import SqliteStore
from dispatcher.ledger.watermark import Watermark, adjoining
from dispatcher.packing.codec import Codec
from dispatcher.packing.parcel import Parcel, spooled_of
from dispatcher.records.source import Mark

_BEGUN = "accepted"
"""Name of the fact that the service has accepted something."""

REPEATED = "repeated"
"""What is counted: invocations that may have reached the service more than once."""

_LOW_SHARE, _GATHER_SECONDS = 0.95, 0.05
"""Of the most outstanding invocations, and how long that many are waited for: where the other
places are held for hours, one that is free is used."""


class Ledger:
    """An open ledger; made by ``open_ledger``.

    Attributes:
        tag: The run's tag, the beginning of all its invocation ids.
        is_new: This process began the run.
        replay: What earlier processes of this run knew about positions.
        resumed: Invocations of earlier processes that may have been sent or not.
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
        self._spool_max = spool_max
        self._payloads = Payloads(spool, codec)
        self._now = now
        opened = now()
        known = [
            at for e in store.entries for at in (e.planned_at, e.accepted_at) if at is not None
        ]
        went_back = opened < max(known, default=opened)
        for entry in store.entries:
            entry.adopt(opened, went_back=went_back)
        self._entries = {entry.planned.number: entry for entry in store.entries}
        self._marks = store.marks
        self._commits = GroupCommit(store)
        self.staged = StagedObjects(store, self._commits, deletes=deletes_staged)
        self._changed = anyio.Event()
        self._left: set[int] = set()
        self._lost = {entry.planned.number for entry in store.entries if entry.payload is None}
        self._locations = OutputIndex(store.entries)
        self.is_new = "tag" not in store.facts
        self.tag = store.facts.get("tag") or ids.make_tag()
        self._numbers = InvocationNumbers(self.tag, store.last_number, is_resumed=bool(store.facts))
        self.replay = ReplayFilter.of(store.marks, store.entries)
        self.resumed = [entry.planned for entry in self.planned()]

    # What a run knows about itself

    @property
    def marks(self) -> dict[str, Mark]:
        """Where each stream is resumed."""
        return {name: watermark.mark for name, watermark in self._marks.items()}

    def sink(self, path: str) -> SinkMark | None:
        """Return how far a sink's file was part of the run at the start; None if it never was."""
        return self._store.sinks.get(path)

    async def adopt(self, path: str, mark: SinkMark) -> None:
        """Make a file part of the run, durably, before its first line: it may be cut back then."""
        await self._commits.write(Settle([], {}, {path: mark}))

    @property
    def tallies(self) -> Mapping[str, int]:
        """Counts at the start: settled records as ``completed`` and ``dead:<reason>``; others."""
        return self._store.tallies

    @property
    def has_accepted(self) -> bool:
        """Whether the service has accepted anything of this run, now or in an earlier process."""
        return self.fact(_BEGUN) is not None

    @property
    def outstanding(self) -> int:
        """Invocations without an outcome now."""
        return len(self._entries)

    @property
    def outstanding_records(self) -> int:
        """Records of the outstanding invocations."""
        return sum(len(entry.record_refs) for entry in self._entries.values())

    @property
    def stages(self) -> bool:
        """Whether anything outstanding needs a bucket to be staged in, now or made anew."""
        return any(entry.planned.route == "s3" for entry in self._entries.values())

    def fact(self, name: str) -> str | None:
        """Return what was remembered under a name, or None."""
        return self._store.facts.get(name)

    async def remember(self, **facts: str) -> None:
        """SqliteStore facts about the run, durably."""
        self._store.facts |= facts
        await self._commits.write(*[Remember(name, value) for name, value in facts.items()])

    # Write ahead

    async def room(self, wanted: int) -> int:
        """Wait until invocations may be planned; return how many, from 1 to ``wanted``.

        From the high-water mark on (``outstanding``, ``spool_max``) nobody plans until there is
        room again, and then for a moment more until the low-water mark: or each settled invocation
        would let in one other, in a transaction of its own.

        Invocations whose payload was lost do not count until it is found: a queue may deliver new
        messages before theirs, and nothing else than reading on makes room then.
        """
        while self._whole >= self._limit or self._spool.size >= self._spool_max:
            while self._whole >= self._limit or self._spool.size >= self._spool_max:
                await self._change()
            with anyio.move_on_after(_GATHER_SECONDS):
                while self._whole > _low(self._limit):
                    await self._change()
        return min(wanted, self._limit - self._whole)

    async def plan(self, parcels: Sequence[Parcel]) -> list[Planned]:
        """Make the intent to send these parcels durable and return what may now be sent.

        The caller has asked for ``room``.

        Raises:
            StateError: The intent could not be stored; nothing may be sent.
        """
        kept = [spooled_of(parcel) for parcel in parcels]
        entries = [self._entry(p, len(k)) for p, k in zip(parcels, kept, strict=True)]
        await self._commits.write(Plan(entries, kept))
        for entry, parcel in zip(entries, parcels, strict=True):
            self._entries[entry.planned.number] = entry
            if parcel.payload:
                self._payloads.keep(entry.planned, parcel.payload)
        return [entry.planned for entry in entries]

    async def restore(self, number: int, kept: bytes | FileSlice) -> None:
        """Take over the records of an invocation, read again from the source after a power loss."""
        await self._commits.write(Restore(self._entries[number], kept))
        self._lost.discard(number)

    @property
    def _whole(self) -> int:
        return len(self._entries) - len(self._lost)

    # What is heard about an invocation

    def find(self, number: int) -> Entry | None:
        """Return an outstanding invocation, or None if it is settled or never was."""
        return self._entries.get(number)

    def find_id(self, invocation: str) -> tuple[bool, Entry | None]:
        """Return whether an id is of this run, and its invocation if that is outstanding."""
        number = ids.number_of(self.tag, invocation)
        return number is not None, self._entries.get(number or 0)

    def accept(self, planned: Planned, at: float, output: str | None, failure: str | None) -> bool:
        """Note that the service accepted an invocation; False if that came late.

        It is stored a moment later. Losing that costs a look into S3, nothing more.
        """
        entry = self._entries.get(planned.number)
        state = step(entry.state if entry else State.SETTLED, Move.ACCEPT)
        if entry is None or state is None:
            return False
        entry.state, entry.accepted_at = state, at
        entry.output, entry.failure = output, failure
        self._locations.add(entry)
        self._commits.later(Accept(planned.number, at, output, failure))
        self._note_accepted()
        return True

    def find_output(self, location: str) -> Entry | None:
        """Return the outstanding invocation whose output or failure the service put there."""
        return self._entries.get(self._locations.number_at(location) or 0)

    def claim(self, entry: Entry) -> bool:
        """Take the right to settle an invocation; False if somebody has it, or it is settled.

        Who cannot make use of it gives it back by ``entry.claimed = False``.
        """
        if entry.claimed or self._entries.get(entry.planned.number) is not entry:
            return False
        entry.claimed = True
        return True

    async def payload(self, entry: Entry) -> bytes | None:
        """Return the bytes of an invocation; None while they are lost and not yet read again."""
        return await self._payloads.read(entry)

    async def kept(self, entry: Entry) -> bytes | FileSlice | None:
        """Return what is kept of the records of an invocation; None while they are lost."""
        return await self._payloads.kept(entry)

    async def raws(self, entry: Entry) -> list[bytes | FileSlice | None]:
        """Return the raw bytes of each record of an invocation; None where they are lost."""
        return await self._payloads.raws(entry)

    def without_payload(self) -> list[Entry]:
        """Return the invocations whose payload was lost with the power and is not found again."""
        return [entry for entry in self._entries.values() if entry.payload is None]

    def planned(self) -> list[Entry]:
        """Return the invocations that are not known to be accepted."""
        return [entry for entry in self._entries.values() if entry.state is State.PLANNED]

    def accepted(self) -> list[Entry]:
        """Return the invocations that were accepted and that nobody is settling."""
        return [
            entry
            for entry in self._entries.values()
            if entry.state is State.ACCEPTED and not entry.claimed
        ]

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
        gone = self.staged.close(entries)
        await self._commits.write(
            Settle(entries, changes, dict(sinks), tallies, messages, self._now(), gone)
        )
        self.staged.offer(gone)
        for entry in entries:
            self._close(entry)
        self._notify()

    async def replace(self, entry: Entry, *, after: float, parts: int = 1) -> list[Planned]:
        """Close an invocation that failed, and plan new ones for its records, in one transaction.

        Args:
            entry: Claimed by the caller; its records are there.
            after: Seconds from now before which the new ones are not to be called.
            parts: How many the records are spread over, in order; at most one a record.

        Raises:
            StateError: It could not be stored, or its records cannot be read.
        """
        new = await self._renewed(entry, after, parts)
        step(entry.state, Move.REPLACE)
        entry.state = State.REPLACED
        counts = [Count(SPLIT), Count(PARTS, parts)] if parts > 1 else []
        gone = self.staged.close([entry], new)
        await self._commits.write(Replace(entry, new, gone), *counts)
        self.staged.offer(gone)
        self._close(entry)
        self._entries |= {made.planned.number: made for made in new}
        return [made.planned for made in new]

    async def _renewed(self, entry: Entry, after: float, parts: int) -> list[Entry]:
        now, old = self._now(), entry.planned
        if parts == 1:
            return [renewed(entry, self._numbers.next_attempt(old, old.size), now, after=after)]
        kept = await self._payloads.kept(entry)
        if not isinstance(kept, bytes):  # a large record is alone, it has no parts
            raise unreadable_payload(old)
        new = []
        for record_refs, ref in parts_of(entry, kept, parts):
            made = renewed(entry, self._numbers.next_attempt(old, ref.size), now, after=after)
            made.record_refs, made.payload, made.crc, made.staged = record_refs, ref, ref.crc, None
            made.first_attempt = made.attempt
            new.append(made)
        return new

    def _close(self, entry: Entry) -> None:
        del self._entries[entry.planned.number]
        self._locations.remove(entry)
        self._payloads.let_go(entry.planned)
        self._left.discard(entry.planned.number)
        self._lost.discard(entry.planned.number)

    def messages(self, stream: str) -> LedgerMessageLog:
        """Return what the run remembers of the messages of a queue."""
        return LedgerMessageLog.of(stream, self._store, self.replay, self._commits, self.is_idle)

    def leave(self, numbers: Iterable[int]) -> None:
        """Leave invocations to the next process: nobody of this one is going to send them."""
        self._left.update(number for number in numbers if number in self._entries)
        self._notify()

    def take_back(self, number: int) -> None:
        """Wait for an invocation after all that was left to the next process."""
        self._left.discard(number)

    async def count(self, name: str) -> None:
        """Count something over all processes of the run, durably."""
        await self._commits.write(Count(name))

    async def idle(self) -> None:
        """Wait until nothing is outstanding but what is left to the next process."""
        while not self.is_idle():
            await self._change()

    def is_idle(self) -> bool:
        """Return whether nothing is outstanding but what is left to the next process."""
        return len(self._entries) <= len(self._left)

    async def flush_forever(self) -> None:
        """SqliteStore acceptances that nobody waits for, until cancelled."""
        await self._commits.flush_forever()

    async def aclose(self) -> None:
        """Write what is left."""
        await self._commits.aclose()

    def _entry(self, parcel: Parcel, size: int) -> Entry:
        planned = self._numbers.planned(parcel.content_type, parcel.route, size, parcel.encoding)
        record_refs = [RecordRef(r.position, r.key, r.size) for r in parcel.records]
        return Entry(planned, record_refs, None, 0, self._now())

    def _note_accepted(self) -> None:
        if not self.has_accepted:
            self._store.facts[_BEGUN] = "yes"
            self._commits.later(Remember(_BEGUN, "yes"))

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _change(self) -> None:
        await self._changed.wait()


def _low(limit: int) -> int:
    return min(limit - 1, int(limit * _LOW_SHARE))
