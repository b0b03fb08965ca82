"""Blocks of content cut into lines, a line of any length in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line that was skipped because it is longer than may be kept.

    Attributes:
        length: Its bytes, without the line break.
    """

    length: int


class LineSplitter:
    """Cuts blocks into lines without their line breaks.

    Whole blocks are split at once; only the line that a block ends in is carried over. Its parts
    are dropped as soon as they are together longer than ``longest``.

    Args:
        longest: The longest line to keep, in bytes.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._length = 0

    @property
    def held(self) -> int:
        """Length of the line whose end has not been seen yet, in bytes."""
        return self._length

    def feed(self, block: bytes) -> Iterator[list[bytes] | TooLong]:
        """Yield the lines that end in this block; some may be longer than ``longest``."""
        lines = block.split(b"\n")
        last = lines.pop()
        if lines and self._length:
            self._hold(lines[0])
            first = self._release()
            if isinstance(first, TooLong):
                yield first
                del lines[0]
            else:
                lines[0] = first
        self._hold(last)
        if lines:
            yield lines

    def end(self) -> Iterator[list[bytes] | TooLong]:
        """Yield the last line, where the content does not end with a line break."""
        if self._length:
            last = self._release()
            yield last if isinstance(last, TooLong) else [last]

    def _hold(self, part: bytes) -> None:
        self._length += len(part)
        if self._length > self._longest:
            self._parts.clear()
        elif part:
            self._parts.append(part)

    def _release(self) -> bytes | TooLong:
        length, self._length = self._length, 0
        if length > self._longest:
            return TooLong(length)
        line = b"".join(self._parts)
        self._parts.clear()
        return line
