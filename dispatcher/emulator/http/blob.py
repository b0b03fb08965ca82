"""Blobs: bytes in memory while they are few, in a file when they are many."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

BLOCK_BYTES = 256 * 1024
"""Unit of reading, hashing and sending."""

SPOOL_BYTES = 1024 * 1024
"""Bodies above this go to a file as they arrive, where there is a folder for them."""

SPOOL_PREFIX = "spool-"
"""Begins the names of files with bytes that are not an object yet."""


@dataclass(slots=True)
class Blob:
    """A finished run of bytes.

    Attributes:
        size: Length in bytes.
        data: The bytes; empty where ``path`` is set.
        path: The file that holds the bytes, or None when they are in memory.
    """

    size: int
    data: bytes = b""
    path: Path | None = None

    @classmethod
    def of(cls, data: bytes) -> "Blob":
        """Wrap bytes that are in memory."""
        return cls(len(data), data)

    def read(self) -> bytes:
        """Return all bytes at once."""
        return self.data if self.path is None else self.path.read_bytes()

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[memoryview]:
        """Yield the bytes of ``start:stop`` in blocks of at most ``BLOCK_BYTES``.

        The file is opened at the first block and stays readable even if it is unlinked.
        """
        stop = self.size if stop is None else stop
        if self.path is None:
            view = memoryview(self.data)
            for at in range(start, stop, BLOCK_BYTES):
                yield view[at : min(at + BLOCK_BYTES, stop)]
            return
        with self.path.open("rb") as file:
            file.seek(start)
            while start < stop:
                block = file.read(min(BLOCK_BYTES, stop - start))
                if not block:
                    raise OSError(f"{self.path} is shorter than its {self.size} bytes")
                start += len(block)
                yield memoryview(block)

    def discard(self) -> None:
        """Delete the file, if there is one."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def new_file(folder: Path) -> IO[bytes]:
    """Open a new file for incoming bytes; the caller closes and deletes it."""
    return NamedTemporaryFile(dir=folder, prefix=SPOOL_PREFIX, delete=False)


class BlobWriter:
    """Collects pieces into a ``Blob`` in linear time.

    Args:
        folder: Where large bodies go; None keeps everything in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self.size = 0
        self._folder = folder
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._path: Path | None = None

    def add(self, piece: bytes | memoryview) -> None:
        """Append a piece; the caller may reuse its buffer afterwards."""
        self.size += len(piece)
        if self._file is not None:
            self._file.write(piece)
            return
        self._pieces.append(bytes(piece))
        if self._folder is not None and self.size > SPOOL_BYTES:
            # The file outlives this function: finish() or discard() closes it.
            self._file = new_file(self._folder)
            self._path = Path(self._file.name)
            self._file.writelines(self._pieces)
            self._pieces.clear()

    def finish(self) -> Blob:
        """Return the collected bytes; the writer must not be used afterwards."""
        if self._file is not None:
            self._file.close()
            return Blob(self.size, path=self._path)
        pieces = self._pieces
        return Blob(self.size, pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def discard(self) -> None:
        """Drop the collected bytes, because the body will never be complete."""
        self._pieces.clear()
        if self._file is not None and self._path is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)
