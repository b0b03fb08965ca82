"""An append-only file of msgpack values that survives a killed process."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgpack

from dispatcher.errors import StateError

_READ_BYTES = 1024 * 1024
_ENTRY_BYTES = 16 * 1024 * 1024


class Journal:
    """Appends values to a file and reads them back after a restart.

    Values are handed to the operating system at once and never synced: they survive ``kill -9``,
    not a power loss. A tail torn by the kill is cut off when the journal is opened.

    Args:
        path: The file; made where it does not exist.

    Raises:
        StateError: The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = self._open()
        self.size = os.fstat(self._fd).st_size

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise StateError(
                f"The emulator's state file {self._path} cannot be opened ({error.strerror}). "
                "Mend its permissions, or set emulator.state to another folder."
            ) from error

    def entries(self) -> Iterator[Any]:
        """Yield all values, oldest first, and cut off a torn tail at the end."""
        unpacker = msgpack.Unpacker(max_buffer_size=_ENTRY_BYTES + _READ_BYTES)
        good = 0
        with self._path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                unpacker.feed(block)
                try:
                    for entry in unpacker:
                        good = unpacker.tell()
                        yield entry
                except (ValueError, msgpack.UnpackException):
                    break
        if good < self.size:
            os.ftruncate(self._fd, good)
            self.size = good

    def append(self, entry: Any) -> int:
        """Write one value, all of it or nothing, and return its size in the file in bytes.

        Raises:
            OSError: It cannot be written, most likely for want of disk space.
        """
        data = msgpack.packb(entry)
        try:
            _write(self._fd, data)
        except OSError:
            # Half an entry would hide all that come after it.
            os.ftruncate(self._fd, self.size)
            raise
        self.size += len(data)
        return len(data)

    def rewrite(self, entries: Iterable[Any]) -> None:
        """Replace everything by ``entries``; a kill or an error leaves the old or the new file.

        Raises:
            OSError: The new file cannot be written; the old one is still in use.
        """
        fresh = self._path.with_suffix(".new")
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        try:
            for entry in entries:
                _write(fd, msgpack.packb(entry))
            os.replace(fresh, self._path)  # noqa: PTH105 - one rename, next to the descriptors
        except OSError:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd = fd
        self.size = os.fstat(fd).st_size

    def close(self) -> None:
        """Close the file; the journal must not be used afterwards."""
        os.close(self._fd)


def packed_bytes(entry: Any) -> int:
    """Return the size of a value in a journal, in bytes."""
    return len(msgpack.packb(entry))


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
