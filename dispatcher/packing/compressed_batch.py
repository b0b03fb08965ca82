"""One compressed payload, filled up to its limit in pieces of exactly known size.

The first piece is compressed once its records would fill the payload without compression. Its ratio
decides the next piece: the records that should fill nine tenths of the room left, and so on. After
four or five pieces hardly any room is left. So each record is compressed once, and the exact size
is known after each piece, never estimated. A piece that turns out larger than the room is taken
back. If it held several records, the whole payload is compressed once more with fewer of them; this
happens only with records that compress a tenth worse than those before them.

Only the records of the payload decide where a piece ends. So a payload that is built again hours
later is the same byte for byte (with the same version of the compressor), and no larger.
"""

from collections.abc import Sequence
from itertools import accumulate

from dispatcher.packing.compression import CompressedStream, Compression
from dispatcher.packing.framing import Frame

_TARGET_SHARE = 0.9
"""Share of the room left that the next piece should fill."""

_FULL_SHARE = 1 / 64
"""A payload is full when less than this share of it is left."""

_MAX_OVERSHOOT = 1.25
"""A record that would need this many times the room is not tried."""


class CompressedBatch:
    """The records of one payload, compressed or waiting to be; pure.

    Args:
        frame: The bytes around and between them.
        compression: The compressor.
        max_bytes: Largest size of the payload.
    """

    def __init__(self, frame: Frame, compression: Compression, max_bytes: int) -> None:
        self._frame = frame
        self._compression = compression
        self._max_bytes = max_bytes
        self._begin()

    def _begin(self) -> None:
        self._items: list[bytes] = []
        self._stream = CompressedStream(self._compression)
        self._size = 0
        self._compressed_count = 0
        self._waiting_bytes = 0
        self._ratio = 1.0
        self._next_piece_bytes = _TARGET_SHARE * self._max_bytes

    def is_due(self, item: bytes) -> bool:
        """Return whether the waiting records must be compressed before this one is added."""
        return self._waiting_bytes + len(item) > self._next_piece_bytes and self._waiting_bytes > 0

    def add(self, item: bytes) -> None:
        """Add a record to those that wait."""
        self._items.append(item)
        self._waiting_bytes += len(item) + len(self._frame.between)

    def compress(self) -> int:
        """Compress the waiting records, at least one.

        Returns:
            The number of records that did not fit, counted from the last; if any, nothing more can
            be added. All of them where the first is too large by itself; if it is the only one, the
            payload holds it all the same.
        """
        room, fitting, previous = self._max_bytes - self._size, self._compressed_count, self._stream
        compressed_bytes = self._compress()
        if self._size <= self._max_bytes:
            return 0
        items = self._items
        if len(items) == 1:
            return 1
        count = self._count_that_fits(fitting, _TARGET_SHARE * room / compressed_bytes)
        while count:
            self._begin()
            self.add_all(items[: fitting + count])
            if self._size <= self._max_bytes:
                break
            count //= 2
        else:
            previous.take_back()
            self._stream, self._compressed_count = previous, fitting
        return len(items) - fitting - count

    def add_all(self, items: Sequence[bytes]) -> None:
        """Add records and compress them all, even where they do not fit."""
        for item in items:
            if self.is_due(item):
                self._compress()
            self.add(item)
        self._compress()

    def is_full_for(self, item: bytes) -> bool:
        """Return whether this record would not fit any more; call it while no record waits."""
        room = self._max_bytes - self._size
        return (
            room < _FULL_SHARE * self._max_bytes or len(item) * self._ratio > _MAX_OVERSHOOT * room
        )

    def payload(self) -> bytes:
        """Return the payload of the compressed records, at least one."""
        return self._stream.payload(self._frame.header(self._compressed_count), self._frame.after)

    def _compress(self) -> int:
        between = self._frame.between
        piece = between.join(self._items[self._compressed_count :])
        if self._compressed_count:
            piece = between + piece
        compressed_bytes = self._stream.put(piece)
        self._compressed_count = len(self._items)
        self._waiting_bytes = 0
        self._size = self._stream.size(
            self._frame.header(self._compressed_count), self._frame.after
        )
        # A short piece is mostly overhead and may grow; that says nothing about the next one.
        self._ratio = min(compressed_bytes / len(piece), 1.0)
        self._next_piece_bytes = _TARGET_SHARE * (self._max_bytes - self._size) / self._ratio
        return compressed_bytes

    def _count_that_fits(self, fitting: int, share: float) -> int:
        """Return how many records after the fitting ones have this share of their bytes."""
        sizes = [len(item) for item in self._items[fitting:]]
        allowed = share * sum(sizes)
        count = sum(total <= allowed for total in accumulate(sizes))
        # Where none fits yet, the first is tried even above its share, unless it was just tried.
        return min(max(count, 1 if fitting == 0 else 0), len(sizes) - 1)


def compressed_payload(
    frame: Frame, compression: Compression, max_bytes: int, items: Sequence[bytes]
) -> bytes:
    """Return the payload of all these records, even where it is too large."""
    batch = CompressedBatch(frame, compression, max_bytes)
    batch.add_all(items)
    return batch.payload()
