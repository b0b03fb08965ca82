"""The settler: writes outcomes to the sinks, then the ledger, and only then acknowledges them.

One task. Outcomes that arrive while a sink is busy are written together: one append and one sync of
each file, one transaction, and only then may the source and the queue forget these records.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from dispatcher import failpoints
from dispatcher.connectors.sink import Sink
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.operations import SinkMark
from dispatcher.ledger.outcome import Outcome, Settlement
from dispatcher.observe.events import InvocationsSettled, Observer
from dispatcher.packing.adaptive_batch_size import BatchSize
from dispatcher.reasons import Reason
from dispatcher.records.source import Source

_GROUP_RECORDS = 5_000
_GROUP_BYTES = 4_000_000
"""A group is written when it has grown to one of these, or nothing more is waiting."""


@dataclass(slots=True, kw_only=True)
class Settler:
    """Writes outcomes until there are no more.

    Attributes:
        results: Takes completed records.
        dead_letters: Takes the others.
        ledger: Closes invocations.
        source: Learns which records may be forgotten.
        batch_size: Learns how many records are bad, for the size of the next parcels.
        observe: Gets the events.
        now: Epoch seconds.
    """

    results: Sink
    dead_letters: Sink
    ledger: Ledger
    source: Source
    batch_size: BatchSize
    observe: Observer
    now: Callable[[], float]
    _adopted: set[str] = field(default_factory=set)

    async def run(
        self,
        settlements: MemoryObjectReceiveStream[list[Settlement]],
        receipts: MemoryObjectSendStream[list[str]],
    ) -> None:
        """Settle what arrives until the stream ends.

        Raises:
            RunStopped: A sink or the ledger cannot be written; nothing is acknowledged.
        """
        async with settlements, receipts:
            while await self._settle_next(settlements, receipts):
                pass

    async def _settle_next(
        self,
        settlements: MemoryObjectReceiveStream[list[Settlement]],
        receipts: MemoryObjectSendStream[list[str]],
    ) -> bool:
        """Settle the next group, and return whether more can come.

        In a frame of its own: a loop would hold the outcomes until the next ones came.
        """
        try:
            group = await settlements.receive()
        except anyio.EndOfStream:
            return False
        records, size = _extent(group)
        with suppress(anyio.WouldBlock, anyio.EndOfStream):
            while size < _GROUP_BYTES and records < _GROUP_RECORDS:
                group += (more := settlements.receive_nowait())
                extent = _extent(more)
                records, size = records + extent[0], size + extent[1]
        await self._settle(group)
        for settlement in group:
            if settlement.reservation is not None:
                settlement.reservation.release()
        failpoints.reach("settled.unacknowledged")
        self.source.acknowledge(o.position for s in group for o in s.outcomes)
        acks = [ack for s in group if s.entry and s.entry.acks for ack in s.entry.acks]
        if acks:
            await receipts.send(acks)
        return True

    async def _settle(self, group: Sequence[Settlement]) -> None:
        completed = [o for s in group for o in s.outcomes if o.status == "completed"]
        dead = [o for s in group for o in s.outcomes if o.status != "completed"]
        parts = [(s, o) for s, o in ((self.results, completed), (self.dead_letters, dead)) if o]
        for sink, outcomes in parts:
            if sink.mark is None:  # may be cancelled: what was written is written again
                await sink.write(outcomes)
        # Once begun it ends: a restart would have to cut back a cancelled half.
        with anyio.CancelScope(shield=True):
            marks = {}
            for sink, outcomes in parts:
                if sink.mark is not None:
                    marks[sink.name] = await self._append(sink, sink.mark, outcomes)
            await self.ledger.settle(group, marks)
        self._report(group, completed, dead)

    async def _append(self, sink: Sink, mark: SinkMark, outcomes: Sequence[Outcome]) -> SinkMark:
        """Write to a sink that can be cut back; it is part of the run before its first line."""
        if sink.name not in self._adopted:
            if self.ledger.sink(sink.name) is None:
                await self.ledger.adopt(sink.name, mark)
            self._adopted.add(sink.name)
        await sink.write(outcomes)
        after = sink.mark
        assert after is not None
        return after

    def _report(
        self, group: Sequence[Settlement], completed: list[Outcome], dead: list[Outcome]
    ) -> None:
        now = self.now()
        self.batch_size.observe(len(completed) + len(dead), sum(map(_is_bad, group)))
        accepted = (s.entry.accepted_at for s in group if s.entry is not None)
        seconds = [now - at for at in accepted if at is not None]
        reasons = Counter(str(outcome.reason) for outcome in dead)
        self.observe(InvocationsSettled(len(completed), reasons, seconds))


def _extent(group: Sequence[Settlement]) -> tuple[int, int]:
    """Return the records and bytes of a group."""
    return sum(len(s.outcomes) for s in group), sum(s.size for s in group)


def learned_batch_size(tallies: Mapping[str, int]) -> BatchSize:
    """Return what earlier processes of a run learned, by the counts of the ledger."""
    settled = {n: c for n, c in tallies.items() if n == "completed" or n.startswith("dead:")}
    bad = sum(settled.get(f"dead:{reason}", 0) for reason in Reason if reason.can_split)
    return BatchSize(bad=bad, records=sum(settled.values()))


def _is_bad(settlement: Settlement) -> bool:
    """Return whether an invocation failed as one bad record makes it fail.

    Where its records were not split, their number is unknown: it is one at least.
    """
    reason = settlement.outcomes[0].reason
    return reason is not None and reason.can_split
