"""Split blocks of content into lines; a line of any length takes bounded memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from dispatcher.flow.content import LARGE_BYTES
from dispatcher.records.large_value import LargeValue


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line that was skipped because it is longer than ``max_length``.

    Attributes:
        length: In bytes, without the line break.
    """

    length: int


Piece: TypeAlias = list[bytes] | LargeValue | TooLong
"""Lines in memory, or one that is not."""


class LineSplitter:
    """Splits blocks into lines without their line breaks.

    Whole blocks are split at once; only the line that a block ends in is carried over. Its parts
    go to a file as soon as they are together ``LARGE_BYTES`` long, and are dropped as soon as they
    are longer than ``max_length``.

    Args:
        max_length: The max_length line to keep, in bytes.
        begin: Begins a line that is not held in memory; its argument is True for the first line.
    """

    def __init__(self, max_length: int, begin: Callable[[bool], LargeValue]) -> None:
        self._max_length = max_length
        self._begin = begin
        self._parts: list[bytes] = []
        self._long: LargeValue | None = None
        self._length = 0
        self._is_first = True

    @property
    def held(self) -> int:
        """Length of the line whose end has not been seen yet, in bytes."""
        return self._length

    def feed(self, block: bytes) -> Iterator[Piece]:
        """Yield the lines that end in this block; some may be longer than ``max_length``."""
        lines = block.split(b"\n")
        last = lines.pop()
        if lines and self._length:
            self._hold(lines[0])
            first = self._release()
            if isinstance(first, bytes):
                lines[0] = first
            else:
                yield first
                del lines[0]
        self._is_first &= not lines
        self._hold(last)
        if lines:
            yield lines

    def end(self) -> Iterator[Piece]:
        """Yield the last line, where the content does not end with a line break."""
        if self._length:
            last = self._release()
            yield [last] if isinstance(last, bytes) else last

    def _hold(self, part: bytes) -> None:
        self._length += len(part)
        if self._length > self._max_length:
            self._parts.clear()
            if self._long is not None:
                self._long.close()
                self._long = None
        elif self._long is not None:
            self._long.feed(part)
        elif self._length >= LARGE_BYTES:
            self._long = self._begin(self._is_first)
            for held in (*self._parts, part):
                self._long.feed(held)
            self._parts.clear()
        elif part:
            self._parts.append(part)

    def _release(self) -> bytes | LargeValue | TooLong:
        length, self._length = self._length, 0
        self._is_first = False
        if length > self._max_length:
            return TooLong(length)
        if self._long is not None:
            long, self._long = self._long, None
            return long
        line = b"".join(self._parts)
        self._parts.clear()
        return line
