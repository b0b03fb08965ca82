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

    def append(self, entry: Any) -> None:
        """Write one value."""
        self._write(self._fd, msgpack.packb(entry))

    def _write(self, fd: int, data: bytes) -> None:
        self.size += len(data)
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]

    def rewrite(self, entries: Iterable[Any]) -> None:
        """Replace everything by ``entries``; a kill leaves either the old or the new file."""
        fresh = self._path.with_suffix(".new")
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        self.size = 0
        for entry in entries:
            self._write(fd, msgpack.packb(entry))
        os.replace(fresh, self._path)  # noqa: PTH105 - one rename, next to the descriptors
        os.close(self._fd)
        self._fd = fd

    def close(self) -> None:
        """Close the file; the journal must not be used afterwards."""
        os.close(self._fd)
