"""The end of the line: outcomes into the files, then the ledger, then the acknowledgements.

One task. Outcomes that arrive while the disk is busy are written together: one append and one sync
of each file, one transaction, and only then may anybody forget about these records.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from dispatcher.config.places import SinkSettings
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.operations import SinkMark
from dispatcher.ledger.outcome import Outcome
from dispatcher.ledger.settlement import Settlement
from dispatcher.observe.meter import Meter
from dispatcher.sinks.jsonl import JsonlFile
from dispatcher.sinks.lines import dead_letter_line, result_line

_GROUP_RECORDS = 5_000
_GROUP_BYTES = 4_000_000
"""A group is written when it has grown to one of these, or nothing more is waiting."""


@dataclass(slots=True)
class Settler:
    """Writes outcomes until there are no more."""

    settings: SinkSettings
    results: JsonlFile
    dead_letters: JsonlFile
    ledger: Ledger
    meter: Meter
    now: Callable[[], float]
    durable: bool
    _adopted: set[str] = field(default_factory=set)

    async def run(
        self,
        settlements: MemoryObjectReceiveStream[list[Settlement]],
        receipts: MemoryObjectSendStream[list[str]],
    ) -> None:
        """Settle what arrives until the stream ends.

        Raises:
            StateError: A file or the ledger cannot be written; nothing is acknowledged.
        """
        async with settlements, receipts:
            async for group in settlements:
                records, size = _extent(group)
                with suppress(anyio.WouldBlock, anyio.EndOfStream):
                    while size < _GROUP_BYTES and records < _GROUP_RECORDS:
                        group += (more := settlements.receive_nowait())
                        extent = _extent(more)
                        records, size = records + extent[0], size + extent[1]
                await self._settle(group)
                for settlement in group:
                    if settlement.share is not None:
                        settlement.share.give_back()
                acks = [ack for s in group if s.entry and s.entry.acks for ack in s.entry.acks]
                if acks:
                    await receipts.send(acks)

    async def _settle(self, group: Sequence[Settlement]) -> None:
        completed = [o for s in group for o in s.outcomes if o.status == "completed"]
        dead = [o for s in group for o in s.outcomes if o.status != "completed"]
        # Once begun it ends: a cancelled half is what a restart would have to cut back.
        with anyio.CancelScope(shield=True):
            await self._adopt(self.results, completed)
            await self._adopt(self.dead_letters, dead)
            marks = await anyio.to_thread.run_sync(self._write, completed, dead)
            await self.ledger.settle(group, marks)
        self._count(group, completed, dead)

    async def _adopt(self, file: JsonlFile, outcomes: list[Outcome]) -> None:
        """Make a file part of the run before its first line."""
        if outcomes and file.path not in self._adopted:
            if self.ledger.sink(file.path) is None:
                await self.ledger.adopt(file.path, file.mark)
            self._adopted.add(file.path)

    def _write(self, completed: list[Outcome], dead: list[Outcome]) -> dict[str, SinkMark]:
        marks = {}
        if completed:
            lines = [result_line(o, self.settings.join, meta=self.settings.meta) for o in completed]
            marks[self.results.path] = self._append(self.results, lines)
        if dead:
            letters = [dead_letter_line(outcome) for outcome in dead]
            marks[self.dead_letters.path] = self._append(self.dead_letters, letters)
        return marks

    def _append(self, file: JsonlFile, lines: list[bytes]) -> SinkMark:
        mark = file.append(lines)
        if self.durable:
            file.sync()
        return mark

    def _count(
        self, group: Sequence[Settlement], completed: list[Outcome], dead: list[Outcome]
    ) -> None:
        now = self.now()
        self.meter.completed += len(completed)
        self.meter.dead += len(dead)
        self.meter.dead_reasons.update(outcome.reason for outcome in dead)
        self.meter.outstanding = self.ledger.outstanding
        for settlement in group:
            if settlement.entry is not None and settlement.entry.accepted_at is not None:
                self.meter.completion_latency.add(now - settlement.entry.accepted_at)


def _extent(group: Sequence[Settlement]) -> tuple[int, int]:
    """Return how many records and bytes are to be written."""
    return sum(len(s.outcomes) for s in group), sum(s.size for s in group)
