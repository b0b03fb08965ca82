"""Watermark of a stream: the mark that everything before is settled, and settled ranges above it.

Pure. Memory and rows follow the gaps (what is outstanding), not what was read: neighbours merge,
and what adjoins the mark moves it.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from dispatcher.records.record import Position
from dispatcher.records.source import START, Mark

Span: TypeAlias = tuple[int, int, int]
"""Start, end, and the line at the end."""


@dataclass(slots=True)
class Change:
    """Changes that a batch of settlements made to one stream, ready to be stored.

    Attributes:
        mark: The new mark, or None if it did not move.
        removed: Starts of ranges that are gone.
        ranges: Ranges that are new or changed: start, end, line at the end.
    """

    mark: Mark | None
    removed: list[int]
    ranges: list[Span]


@dataclass(slots=True)
class Watermark:
    """The settled part of one stream.

    Attributes:
        mark: Everything before is settled.
    """

    mark: Mark = START
    _starts: list[int] = field(default_factory=list)
    _ends: dict[int, tuple[int, int]] = field(default_factory=dict)  # start: (end, line at end)
    _stored: set[int] = field(default_factory=set)  # starts of ranges as they stand in the ledger
    _touched: set[int] = field(default_factory=set)  # starts that are new or whose end moved
    _removed: set[int] = field(default_factory=set)  # stored starts that are gone
    _moved: bool = False

    def load(self, start: int, end: int, line: int) -> None:
        """Take over a range from the ledger."""
        self._insert(start, end, line)
        self._stored.add(start)
        self._touched.discard(start)

    def covers(self, start: int) -> bool:
        """Return whether the record that begins at ``start`` is settled."""
        if start < self.mark.offset:
            return True
        index = bisect_right(self._starts, start) - 1
        return index >= 0 and start < self._ends[self._starts[index]][0]

    @property
    def head(self) -> int:
        """The end of all that is settled."""
        return self._ends[self._starts[-1]][0] if self._starts else self.mark.offset

    @property
    def ranges(self) -> int:
        """Number of settled ranges above the mark."""
        return len(self._starts)

    def spans(self) -> list[Span]:
        """Return the settled ranges above the mark, in order."""
        return [(start, *self._ends[start]) for start in self._starts]

    def settle(self, position: Position) -> None:
        """Add a settled record, or neighbours as one span.

        Raises:
            ValueError: Some of it is settled already: a record must never be settled twice.
        """
        after = bisect_right(self._starts, position.start)
        overlaps = after < len(self._starts) and self._starts[after] < position.end
        if overlaps or self.covers(position.start):
            raise ValueError(f"{position} is settled already")
        if position.start == self.mark.offset:
            self._advance(position.end, position.line)
        else:
            self._insert(position.start, position.end, position.line)

    def changes(self) -> Change:
        """Return the changes since the last call, and forget them."""
        ranges = [(start, *self._ends[start]) for start in sorted(self._touched)]
        change = Change(self.mark if self._moved else None, sorted(self._removed), ranges)
        self._stored -= self._removed
        self._stored |= self._touched
        self._touched.clear()
        self._removed.clear()
        self._moved = False
        return change

    def _advance(self, end: int, line: int) -> None:
        while self._starts and self._starts[0] == end:
            end, line = self._drop(0)
        self.mark = Mark(end, line)
        self._moved = True

    def _insert(self, start: int, end: int, line: int) -> None:
        index = bisect_right(self._starts, start)
        if index < len(self._starts) and self._starts[index] == end:
            end, line = self._drop(index)
        if index > 0 and self._ends[self._starts[index - 1]][0] == start:
            start = self._starts[index - 1]
        else:
            self._starts.insert(index, start)
        self._ends[start] = (end, line)
        self._touched.add(start)
        self._removed.discard(start)

    def _drop(self, index: int) -> tuple[int, int]:
        start = self._starts.pop(index)
        self._touched.discard(start)
        if start in self._stored:
            self._removed.add(start)
        return self._ends.pop(start)


def adjoining(positions: Sequence[Position]) -> list[Position]:
    """Return the positions with neighbours merged: most records of a payload are neighbours."""
    spans: list[Position] = []
    for at in positions:
        if spans and (last := spans[-1]).end == at.start and last.stream == at.stream:
            last.end, last.line = at.end, at.line
        else:
            spans.append(Position(at.stream, at.start, at.end, at.line))
    return spans
