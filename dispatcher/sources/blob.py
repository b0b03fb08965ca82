"""Bytes that are too many to hold in memory: a part of an open file."""

import os
from collections.abc import Iterator

LARGE_BYTES = 16_000_000
"""A record from here on is a blob."""

CHUNK_BYTES = 1_000_000
"""How much of a blob is read at once."""


class Blob:
    """A part of an open file, read by whoever asks; owns the file descriptor.

    Args:
        file: A file descriptor of its own, which ``close`` closes.
        offset: Where the part begins, in bytes.
        size: Its bytes.
    """

    __slots__ = ("_file", "_offset", "size")

    def __init__(self, file: int, offset: int, size: int) -> None:
        self._file = file
        self._offset = offset
        self.size = size

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes in order, ``CHUNK_BYTES`` at a time; blocks on the disk.

        Raises:
            EOFError: The file has become shorter.
        """
        for start in range(0, self.size, CHUNK_BYTES):
            wanted = min(CHUNK_BYTES, self.size - start)
            chunk = os.pread(self._file, wanted, self._offset + start)
            if len(chunk) < wanted:
                raise EOFError(f"{wanted - len(chunk)} bytes are missing")
            yield chunk

    def __len__(self) -> int:
        return self.size

    def read(self) -> bytes:
        """Return all of it; blocks on the disk."""
        return b"".join(self.chunks())

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
