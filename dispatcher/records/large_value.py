"""A JSON value too large for memory: checked piece by piece, and written to a spill file."""

import os
import tempfile
from pathlib import Path

from dispatcher.errors import StateError
from dispatcher.flow.content import FileSlice
from dispatcher.records.json_scanner import JsonScanner, MalformedError

UTF8_MARK = b"\xef\xbb\xbf"

_BREAKS_TO_BLANKS = bytes.maketrans(b"\r\n", b"  ")
_BREAKS = ord("\r"), ord("\n")  # searched as numbers: some times faster than as bytes


class SpillFile:
    """A file without a name, whose disk space is free once it is closed.

    Args:
        folder: A folder on the disk to write to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = -1
        self._size = 0
        try:
            with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
                self._file = os.dup(file.fileno())
        except OSError as error:
            raise self._unwritten(error) from error

    def write(self, data: bytes) -> None:
        """Append data.

        Raises:
            StateError: The disk is full or fails.
        """
        rest = memoryview(data)
        try:
            while rest:
                written = os.pwrite(self._file, rest, self._size)
                self._size += written
                rest = rest[written:]
        except OSError as error:
            raise self._unwritten(error) from error

    def content(self, size: int) -> FileSlice:
        """Return the first ``size`` bytes; nothing can be written afterwards."""
        file, self._file = self._file, -1
        return FileSlice(file, 0, size)

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def __del__(self) -> None:
        """Close the file of a value whose end never came."""
        self.close()

    def _unwritten(self, error: OSError) -> StateError:
        return StateError(
            f"a large record cannot be written to a file in {self._folder}: {error.strerror}. Make "
            "room there, and run the same command again; everything so far is kept"
        )


class LargeValue:
    """A value that comes in pieces, with blanks around it.

    It is written on one line: without the blanks around it, and with blanks instead of the line
    breaks between its tokens.

    Args:
        folder: The folder of its spill file.
        field: The field of the outermost object whose value to capture, or None.
        is_first: It begins a file, where a UTF-8 mark is tolerated.

    Attributes:
        length: Its bytes so far, with the blanks around.
    """

    def __init__(self, folder: Path, field: str | None, *, is_first: bool) -> None:
        self.length = 0
        self._scanner = JsonScanner(field)
        self._spill = SpillFile(folder)
        self._head: bytes | None = b""
        self._may_have_mark = is_first
        self._written = 0
        self._size = 0
        self._error: MalformedError | None = None

    @property
    def found(self) -> object:
        """The field's value, see ``JsonScanner.value``."""
        return self._scanner.value

    @property
    def is_object(self) -> bool:
        """True if it is an object."""
        return self._scanner.is_object

    def feed(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            StateError: The disk is full or fails.
        """
        self.length += len(piece)
        if self._error is not None:
            return
        if self._head is not None:
            piece = self._begin(piece)
        if piece:
            self._take(piece)

    def end(self) -> FileSlice | MalformedError | None:
        """Return the value, or why it is not one; None where there were only blanks."""
        if self._head:
            self._take(self._head)
        if self._error is None and self._written:
            try:
                self._scanner.end()
            except MalformedError as error:
                self._error = error
        if self._error is not None or not self._written:
            self.close()
            return self._error
        return self._spill.content(self._size)

    def close(self) -> None:
        """Discard it; harmless when repeated."""
        self._spill.close()

    def _begin(self, piece: bytes) -> bytes:
        """Return the first bytes of the value, once they are certain."""
        data = ((self._head or b"") + piece).lstrip()
        if self._may_have_mark:
            if len(data) < len(UTF8_MARK) and UTF8_MARK.startswith(data):
                self._head = data
                return b""
            self._may_have_mark = False
            data = data.removeprefix(UTF8_MARK).lstrip()
        self._head = None if data else b""
        return data

    def _take(self, piece: bytes) -> None:
        try:
            self._scanner.feed(piece)
        except MalformedError as error:
            self._error = error
            self.close()
            return
        if any(character in piece for character in _BREAKS):
            piece = piece.translate(_BREAKS_TO_BLANKS)
        self._spill.write(piece)
        if filled := len(piece.rstrip()):
            self._size = self._written + filled
        self._written += len(piece)
