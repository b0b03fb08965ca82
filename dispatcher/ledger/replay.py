"""Replay filter: recognises records that earlier processes knew, as the source is read again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.watermark import Span, Watermark, adjoining
from dispatcher.records.record import Position
from dispatcher.records.source import START, Mark


class Seen(Enum):
    """The ledger's knowledge of a record that is read."""

    NEW = auto()
    BEHIND = auto()
    """Before the frontier: settled, or outstanding with its payload at hand."""

    SETTLED = auto()
    OUTSTANDING = auto()
    LOST = auto()
    """Outstanding, and a power loss took its payload: its bytes are needed again."""

    CHANGED = auto()
    """Seen with another extent: the input is not what was read before."""


_NEW = Seen.NEW, None
_BEHIND = Seen.BEHIND, None


@dataclass(slots=True, kw_only=True)
class ReplayFilter:
    """Looks up positions that were read before this process began, and forgets each after it.

    Attributes:
        heads: The end of what was read of each stream; everything from there on is new.
        frontiers: The place from which each stream is read again. One record stuck for hours keeps
            the mark in its place, but all that was settled since need not be read again.
    """

    heads: dict[str, int]
    frontiers: dict[str, Mark]
    _settled: dict[str, list[tuple[int, int]]]
    _outstanding: dict[tuple[str, int], tuple[int, Entry]]

    @classmethod
    def of(cls, marks: Mapping[str, Watermark], entries: Sequence[Entry]) -> Self:
        """Build the filter from the ledger as it was at the start."""
        heads = {stream: watermark.head for stream, watermark in marks.items()}
        at_hand = {stream: watermark.spans() for stream, watermark in marks.items()}
        for entry in entries:
            for span in adjoining([record_ref.position for record_ref in entry.record_refs]):
                heads[span.stream] = max(heads.get(span.stream, 0), span.end)
                spans = at_hand.setdefault(span.stream, [])
                if entry.payload is not None:
                    spans.append((span.start, span.end, span.line))
        frontiers = {
            stream: frontier(marks[stream].mark if stream in marks else START, spans)
            for stream, spans in at_hand.items()
        }
        settled = {
            stream: [
                (start, end)
                for start, end, _ in reversed(watermark.spans())
                if end > frontiers[stream].offset
            ]
            for stream, watermark in marks.items()
        }
        outstanding = {
            (at.stream, at.start): (at.end, entry)
            for entry in entries
            for at in (record_ref.position for record_ref in entry.record_refs)
            if at.start >= frontiers[at.stream].offset
        }
        return cls(heads=heads, frontiers=frontiers, _settled=settled, _outstanding=outstanding)

    def look_up(self, position: Position) -> tuple[Seen, Entry | None]:
        """Return the knowledge of a record, and its invocation if that is outstanding.

        Records of a stream are looked up in order, each once.
        """
        if position.start >= self.heads.get(position.stream, 0):
            return _NEW
        if position.start < self.frontiers[position.stream].offset:
            return _BEHIND
        end, entry = self._outstanding.pop((position.stream, position.start), (0, None))
        if entry is not None:
            if end != position.end:
                return Seen.CHANGED, entry
            return (Seen.LOST if entry.payload is None else Seen.OUTSTANDING), entry
        spans = self._settled.get(position.stream, [])
        while spans and spans[-1][1] <= position.start:
            spans.pop()
        if spans and spans[-1][0] <= position.start:
            return (Seen.SETTLED if position.end <= spans[-1][1] else Seen.CHANGED), None
        return Seen.NEW, None


def frontier(mark: Mark, spans: Iterable[Span]) -> Mark:
    """Return the end of the known spans that follow the mark without a gap."""
    for start, end, line in sorted(spans):
        if start > mark.offset:
            break
        mark = Mark(end, line)
    return mark
