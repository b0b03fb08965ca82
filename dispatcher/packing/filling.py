"""One compressed payload: when records are compressed, so that it becomes full and no fuller.

The first records are compressed once they might fill the payload if nothing became smaller. What
they became tells the ratio, and the next ones are those that would fill nine tenths of the room
left, and so on: after four or five pieces there is next to no room. So each record is compressed
once, and the exact size is known after each piece, never estimated. A piece that became larger than
the room is taken back, and a part of it compressed in a second attempt; that needs records that
compress a tenth worse than those before them.

Where pieces end is decided by the records of the payload and nothing else. So a payload that is
made anew, hours later, is the same byte for byte (with the same version of the compressor), and no
larger than it was.
"""

from collections.abc import Sequence

from dispatcher.packing.compression import Compression, Stream
from dispatcher.packing.framing import Frame

_CAREFUL = 0.9
"""The share of the room that the next piece is meant to fill."""

_FULL = 1 / 64
"""A payload with less room than this share of it is full."""

_HOPELESS = 1.25
"""A record that would need so many times the room is not tried."""


class Filling:
    """The records of a payload, compressed or about to be; pure.

    Args:
        frame: How they are framed.
        compression: How they are compressed.
        most: Bytes that the payload may have.
    """

    def __init__(self, frame: Frame, compression: Compression, most: int) -> None:
        self._frame = frame
        self._stream = Stream(compression)
        self._most = most
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._pressed = 0
        self._ratio = 1.0
        self._piece = _CAREFUL * most
        self._size = 0

    @property
    def size(self) -> int:
        """Exact bytes of the payload if it ends with what is compressed."""
        return self._size

    @property
    def is_over(self) -> bool:
        """Whether what is compressed is too much."""
        return self._size > self._most

    def is_due(self, item: bytes) -> bool:
        """Return whether what waits is to be compressed before this record is added."""
        return self._waiting_bytes + len(item) > self._piece and bool(self._waiting)

    def add(self, item: bytes) -> None:
        """Add a record to what waits."""
        self._waiting.append(item)
        self._waiting_bytes += len(item) + len(self._frame.between)

    def press(self) -> int:
        """Compress what waits, at least one record; return how many they were."""
        waiting, self._waiting = self._waiting, []
        piece = self._frame.between.join(waiting)
        if self._pressed:
            piece = self._frame.between + piece
        became = self._stream.put(piece)
        self._pressed += len(waiting)
        self._waiting_bytes = 0
        self._size = self._stream.size(self._frame.header(self._pressed), self._frame.after)
        self._ratio = became / len(piece)
        self._piece = _CAREFUL * (self._most - self._size) / self._ratio
        return len(waiting)

    def take_back(self, count: int) -> None:
        """Take back what was compressed last, so many records; nothing can be added any more."""
        self._stream.take_back()
        self._pressed -= count

    def is_full_for(self, item: bytes) -> bool:
        """Return whether the payload is to end without this record, nothing waiting."""
        room = self._most - self._size
        if room < _FULL * self._most:
            return True
        # Whatever it is made of, it grows by no more than its frame and a block's head.
        return len(item) * min(self._ratio, 1.0) > _HOPELESS * room

    def payload(self) -> bytes:
        """Return the payload of all that is compressed."""
        return self._stream.payload(self._frame.header(self._pressed), self._frame.after)


def fill(frame: Frame, compression: Compression, most: int, items: Sequence[bytes]) -> Filling:
    """Return a payload's filling with all these records compressed, whether or not it is over."""
    filling = Filling(frame, compression, most)
    for item in items:
        if filling.is_due(item):
            filling.press()
        filling.add(item)
    filling.press()
    return filling
