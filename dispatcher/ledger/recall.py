"""What earlier processes of a run knew about positions, while the source is read again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

from dispatcher.ledger.intent import Entry
from dispatcher.ledger.watermark import Watermark
from dispatcher.sources.record import Position


class Known(Enum):
    """What is known of a record that is read."""

    NEW = auto()
    SETTLED = auto()
    OUTSTANDING = auto()
    LOST = auto()
    """Outstanding, and its payload was lost with the power: it is needed again."""

    CHANGED = auto()
    """Known with another extent: the input is not what was read before."""


_NEW = Known.NEW, None


@dataclass(slots=True)
class Recall:
    """Answers for positions that were read before this process began; forgets what it answered.

    Attributes:
        heads: Where each stream was read up to; everything from there on is new.
    """

    heads: dict[str, int]
    _settled: dict[str, list[tuple[int, int]]]
    _outstanding: dict[tuple[str, int], tuple[int, Entry]]

    @classmethod
    def of(cls, marks: Mapping[str, Watermark], entries: Iterable[Entry]) -> Self:
        """Take a picture of the ledger as it stands at the start."""
        heads = {stream: watermark.head for stream, watermark in marks.items()}
        outstanding = {}
        for entry in entries:
            for slip in entry.slips:
                position = slip.position
                outstanding[position.stream, position.start] = (position.end, entry)
                heads[position.stream] = max(heads.get(position.stream, 0), position.end)
        settled = {stream: watermark.spans() for stream, watermark in marks.items()}
        return cls(heads, settled, outstanding)

    def know(self, position: Position) -> tuple[Known, Entry | None]:
        """Return what is known of a record, and its invocation if that is outstanding.

        Records of a stream are asked for in order, each once.
        """
        if position.start >= self.heads.get(position.stream, 0):
            return _NEW
        end, entry = self._outstanding.pop((position.stream, position.start), (0, None))
        if entry is not None:
            if end != position.end:
                return Known.CHANGED, entry
            return (Known.LOST if entry.payload is None else Known.OUTSTANDING), entry
        spans = self._settled.get(position.stream, [])
        while spans and spans[-1][1] <= position.start:
            spans.pop()
        if spans and spans[-1][0] <= position.start:
            return (Known.SETTLED if position.end <= spans[-1][1] else Known.CHANGED), None
        return Known.NEW, None
