"""What earlier processes of a run knew about positions, while the source is read again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.watermark import Span, Watermark, adjoining
from dispatcher.records.record import Position
from dispatcher.records.source import START, Mark


class Seen(Enum):
    """What is known of a record that is read."""

    NEW = auto()
    BEHIND = auto()
    """Before the frontier: settled, or outstanding with its payload at hand."""

    SETTLED = auto()
    OUTSTANDING = auto()
    LOST = auto()
    """Outstanding, and its payload was lost with the power: it is needed again."""

    CHANGED = auto()
    """Seen with another extent: the input is not what was read before."""


_NEW = Seen.NEW, None
_BEHIND = Seen.BEHIND, None


@dataclass(slots=True)
class ReplayFilter:
    """Answers for positions that were read before this process began; forgets what it answered.

    Attributes:
        heads: Where each stream was read up to; everything from there on is new.
        frontiers: Where each stream is to be read from. One record stuck for hours keeps the mark
            at its place, but all that was settled since need not be read again.
    """

    heads: dict[str, int]
    frontiers: dict[str, Mark]
    _settled: dict[str, list[tuple[int, int]]]
    _outstanding: dict[tuple[str, int], tuple[int, Entry]]

    @classmethod
    def of(cls, marks: Mapping[str, Watermark], entries: Sequence[Entry]) -> Self:
        """Take a picture of the ledger as it stands at the start."""
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
        return cls(heads, frontiers, settled, outstanding)

    def look_up(self, position: Position) -> tuple[Seen, Entry | None]:
        """Return what is known of a record, and its invocation if that is outstanding.

        Records of a stream are asked for in order, each once.
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
    """Return the end of what is known from the mark on without a gap."""
    for start, end, line in sorted(spans):
        if start > mark.offset:
            break
        mark = Mark(end, line)
    return mark
