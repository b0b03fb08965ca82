"""One compressed payload: when records are compressed, so that it becomes full and no fuller.

The first records are compressed once they might fill the payload if nothing became smaller. What
they became tells the ratio, and the next ones are those that would fill nine tenths of the room
left, and so on: after four or five pieces there is next to no room. So each record is compressed
once, and the exact size is known after each piece, never estimated. A piece that became larger than
the room is taken back. If it was more than one record, all is compressed once more with a part of
them; that takes records that compress a tenth worse than those before them.

Where pieces end is decided by the records of the payload and nothing else. So a payload that is
made anew, hours later, is the same byte for byte (with the same version of the compressor), and no
larger than it was.
"""

from collections.abc import Sequence
from itertools import accumulate

from dispatcher.packing.compression import CompressedStream, Compression
from dispatcher.packing.framing import Frame

_CAREFUL = 0.9
"""The share of the room that the next piece is meant to fill."""

_FULL = 1 / 64
"""A payload with less room than this share of it is full."""

_HOPELESS = 1.25
"""A record that would need so many times the room is not tried."""


class CompressedBatch:
    """The records of a payload, compressed or about to be; pure.

    Args:
        frame: How they are framed.
        compression: How they are compressed.
        most: Bytes that the payload may have.
    """

    def __init__(self, frame: Frame, compression: Compression, most: int) -> None:
        self._frame = frame
        self._compression = compression
        self._most = most
        self._begin()

    def _begin(self) -> None:
        self._items: list[bytes] = []
        self._stream = CompressedStream(self._compression)
        self._size = 0
        self._pressed = 0
        self._waiting_bytes = 0
        self._ratio = 1.0
        self._piece = _CAREFUL * self._most

    def is_due(self, item: bytes) -> bool:
        """Return whether what waits is to be compressed before this record is added."""
        return self._waiting_bytes + len(item) > self._piece and self._waiting_bytes > 0

    def add(self, item: bytes) -> None:
        """Add a record to what waits."""
        self._items.append(item)
        self._waiting_bytes += len(item) + len(self._frame.between)

    def press(self) -> int:
        """Compress what waits, at least one record.

        Returns:
            How many records, from the last, are too many and were left out; nothing can be added
            any more then. All, where the first is too large by itself; if it is the only one, the
            payload is that of it all the same.
        """
        room, sure, spare = self._most - self._size, self._pressed, self._stream
        became = self._compress()
        if self._size <= self._most:
            return 0
        items = self._items
        if len(items) == 1:
            return 1
        part = self._part(sure, _CAREFUL * room / became)
        while part:
            self._begin()
            self.add_all(items[: sure + part])
            if self._size <= self._most:
                break
            part //= 2
        else:
            spare.take_back()
            self._stream, self._pressed = spare, sure
        return len(items) - sure - part

    def add_all(self, items: Sequence[bytes]) -> None:
        """Add records, and compress them all, whether or not they fit."""
        for item in items:
            if self.is_due(item):
                self._compress()
            self.add(item)
        self._compress()

    def is_full_for(self, item: bytes) -> bool:
        """Return whether the payload is to end without this record; nothing waits."""
        room = self._most - self._size
        return room < _FULL * self._most or len(item) * self._ratio > _HOPELESS * room

    def payload(self) -> bytes:
        """Return the payload of all that is compressed, at least one record."""
        return self._stream.payload(self._frame.header(self._pressed), self._frame.after)

    def _compress(self) -> int:
        between = self._frame.between
        piece = between.join(self._items[self._pressed :])
        if self._pressed:
            piece = between + piece
        became = self._stream.put(piece)
        self._pressed = len(self._items)
        self._waiting_bytes = 0
        self._size = self._stream.size(self._frame.header(self._pressed), self._frame.after)
        # A short piece is all overhead; nothing becomes larger than that.
        self._ratio = min(became / len(piece), 1.0)
        self._piece = _CAREFUL * (self._most - self._size) / self._ratio
        return became

    def _part(self, sure: int, share: float) -> int:
        """Return how many records after the first ones have this share of their bytes."""
        sizes = [len(item) for item in self._items[sure:]]
        allowed = share * sum(sizes)
        part = sum(total <= allowed for total in accumulate(sizes))
        # Where nothing is sure the first is tried, unless it was alone and has been.
        return min(max(part, 1 if sure == 0 else 0), len(sizes) - 1)


def fill(frame: Frame, compression: Compression, most: int, items: Sequence[bytes]) -> bytes:
    """Return the payload of all these records, even if it is too large."""
    filling = CompressedBatch(frame, compression, most)
    filling.add_all(items)
    return filling.payload()
