"""Content too large for memory: a slice of an open file."""

import os
import zlib
from collections.abc import Iterator

LARGE_BYTES = 16_000_000
"""Size from which a record is held as a slice of a file."""

CHUNK_BYTES = 1_000_000
"""Bytes of a slice that are read at once."""


class ChangedError(Exception):
    """The file of a slice has changed since the slice was made; ``str()`` says in what."""


class FileSlice:
    """A slice of an open file; owns the file descriptor.

    ``close`` closes it, and at the latest the end of the object does: an unlinked file takes its
    disk space until then.

    Args:
        file: A file descriptor of its own, which ``close`` closes.
        offset: The begin of the slice in the file, in bytes.
        size: The length of the slice, in bytes.
        crc: CRC-32 of its bytes, where it is known.
        steady: The file must not change until all of the slice is read, such as one of the
            user's.
    """

    __slots__ = ("_crc", "_file", "_initial_state", "_offset", "size")

    def __init__(
        self, file: int, offset: int, size: int, *, crc: int | None = None, steady: bool = False
    ) -> None:
        self._file = file
        self._offset = offset
        self._crc = crc
        self._initial_state = _state(file) if steady else None
        self.size = size

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes in order, ``CHUNK_BYTES`` at a time; blocks on the disk.

        Raises:
            ChangedError: The file has changed; certain only at the end, after the last chunk.
            OSError: The disk fails.
        """
        crc = 0
        for start in range(0, self.size, CHUNK_BYTES):
            wanted = min(CHUNK_BYTES, self.size - start)
            chunk = os.pread(self._file, wanted, self._offset + start)
            if len(chunk) < wanted:
                raise ChangedError(f"{wanted - len(chunk)} bytes are missing at {start:,}")
            if self._crc is not None:
                crc = zlib.crc32(chunk, crc)
            yield chunk
        if self._crc not in (None, crc):
            raise ChangedError("the checksum is another")
        if self._initial_state is not None and _state(self._file) != self._initial_state:
            raise ChangedError("the file was written to")

    def __len__(self) -> int:
        return self.size

    def read(self) -> bytes:
        """Return all of it; blocks on the disk, see ``chunks``."""
        return b"".join(self.chunks())

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def __del__(self) -> None:
        """Close the file of a slice that was dropped, such as one of a record read before."""
        self.close()


def _state(file: int) -> tuple[int, int]:
    status = os.fstat(file)
    return status.st_size, status.st_mtime_ns
