"""Files as records: each file is one, as it is."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from anyio import to_thread

from dispatcher.config.connectors import SourceSettings
from dispatcher.config.packing import PackingSettings
from dispatcher.connectors.files import manifest
from dispatcher.connectors.files.manifest import Listed
from dispatcher.errors import StateError
from dispatcher.flow.content import LARGE_BYTES, FileSlice
from dispatcher.reasons import Reason
from dispatcher.records.json_records import item_of, item_of_long
from dispatcher.records.long_value import UTF8_MARK, LongValue
from dispatcher.records.record import Item, Large, Position, Record, Unreadable
from dispatcher.records.source import START, Mark

STREAM = "files"
"""The one stream: its offsets are bytes of the list of files."""

BLOCK_BYTES = 786_432
"""How much of a large file is read at once, and from how much on a batch is full."""

BATCH_RECORDS = 500
"""Most items of a batch."""

_OF_THE_FILE = frozenset(
    {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO}
)
"""What is wrong with one file; anything else (no descriptors left, a broken disk) is not."""

_State: TypeAlias = tuple[int, int]


def must_be_json(source: SourceSettings, packing: PackingSettings) -> bool:
    """Return whether each record has to be one JSON value, and is made one on one line."""
    return source.type != "files" or "raw" not in packing.encodings


class FilesSource:
    """Reads one file after the other, on a worker thread; a ``Source``.

    Which files these are is written down once, when the run begins: a position is a file's place
    in that list, so a restart goes on where it was, and files that come later are not of this run.

    Args:
        settings: The section ``source``.
        listing: The file that holds the list.
        is_json: Each file has to hold one JSON value; otherwise it may be anything.
        spill_folder: Folder for JSON that is too large for memory; None: the folder for temporary
            files.
    """

    def __init__(
        self,
        settings: SourceSettings,
        listing: Path,
        *,
        is_json: bool,
        spill_folder: Path | None = None,
    ) -> None:
        self._settings = settings
        self._listing = listing
        self._is_json = is_json
        self._spill_folder = spill_folder or Path(tempfile.gettempdir())
        self._files: Iterator[Listed] = iter(())
        self._long: _LongFile | None = None
        self._ended = False
        self._read_bytes = 0

    async def open(self, marks: Mapping[str, Mark], heads: Mapping[str, str]) -> dict[str, str]:
        """List the files, or find the list that the run began with, see ``Source``."""
        return await to_thread.run_sync(self._open, marks, heads)

    def _open(self, marks: Mapping[str, Mark], heads: Mapping[str, str]) -> dict[str, str]:
        if STREAM not in marks:
            manifest.make(self._settings.path, self._listing)
        found = manifest.fingerprint(self._listing)
        if heads.get(STREAM, found) != found:
            raise StateError(
                f"{self._listing}, the list of this run's files, is not the one that it began "
                "with: restore it, or begin a new run with another ledger.path"
            )
        self._files = manifest.listed(self._listing, marks.get(STREAM, START))
        return {STREAM: found}

    async def read(self) -> list[Item]:
        """Return the next batch, see ``Source``."""
        while not self._ended:
            if batch := await to_thread.run_sync(self.step):
                return batch
        return []

    async def run(self) -> None:
        """Do nothing: files need no care beside reading."""

    def stop(self) -> None:
        """Do nothing: only what is asked for is read."""

    def acknowledge(self, positions: Iterable[Position]) -> None:
        """Do nothing: the ledger's mark says where to resume."""

    async def finish(self) -> None:
        """Do nothing: a file forgets nothing."""

    async def aclose(self) -> None:
        """Close what is being read."""
        self._ended = True
        self._files = iter(())
        if self._long is not None:
            self._long.close()
            self._long = None

    @property
    def may_pause(self) -> bool:
        """Files are there."""
        return False

    @property
    def bytes_expected(self) -> int | None:
        """Nobody asks a million files for their sizes."""
        return None

    @property
    def bytes_read(self) -> int:
        """Bytes of the files that this process has read."""
        return self._read_bytes

    def step(self) -> list[Item]:
        """Return the next items; none while a large file is being read, and at the end.

        It reads a block of a large file at most: a thread at work cannot be cancelled.
        """
        items: list[Item] = []
        if self._long is not None:
            if self._long.step():
                items.append(self._long.item())
                self._read_bytes += self._long.size
                self._long = None
            return items
        size = 0
        while size < BLOCK_BYTES and len(items) < BATCH_RECORDS:
            listed = next(self._files, None)
            if listed is None:
                self._ended = not items
                break
            item = self._begin(listed)
            if item is None:  # the ones before it are not to wait for it
                break
            items.append(item)
            taken = item.size if isinstance(item, Record | Large) else 0
            size += taken
            self._read_bytes += taken
        return items

    def _begin(self, listed: Listed) -> Item | None:
        """Return a file as an item, or None where it has to be read in steps."""
        position = Position(STREAM, listed.start, listed.end, listed.number)
        try:
            # Without O_NONBLOCK, opening a named pipe blocks until it has a writer.
            file = os.open(listed.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in _OF_THE_FILE:
                raise _unread(listed.path, error) from None
            reason = Reason.MISSING_FILE if error.errno == errno.ENOENT else Reason.UNREADABLE_FILE
            message = f"{listed.path} cannot be opened ({error.strerror})"
            return Unreadable(position, listed.path, b"", reason, message)
        is_kept = False
        try:
            found = os.fstat(file)
            if (item := self._refused(position, listed.path, found)) is not None:
                return item
            if found.st_size < LARGE_BYTES:
                return self._small(position, listed.path, file, found.st_size)
            is_kept = True
            if not self._is_json:
                return Large(position, listed.path, FileSlice(file, 0, found.st_size, steady=True))
            self._long = _LongFile(position, listed.path, file, self._spill_folder)
            return None
        except OSError as error:
            raise _unread(listed.path, error) from None
        finally:
            if not is_kept:
                os.close(file)

    def _refused(self, position: Position, path: str, found: os.stat_result) -> Unreadable | None:
        if not stat.S_ISREG(found.st_mode):
            return Unreadable(
                position, path, b"", Reason.UNREADABLE_FILE, f"{path} is no regular file"
            )
        if not found.st_size:
            return Unreadable(position, path, b"", Reason.EMPTY_FILE, f"{path} is empty")
        if found.st_size > self._settings.max_record:
            message = (
                f"{path} is {found.st_size} bytes long, source.max_record is "
                f"{self._settings.max_record}"
            )
            return Unreadable(position, path, b"", Reason.TOO_LARGE, message)
        return None

    def _small(self, position: Position, path: str, file: int, size: int) -> Item:
        before = _state(file)
        raw = os.read(file, size)
        if len(raw) != size or os.read(file, 1) or _state(file) != before:
            return _changed(position, path)
        if not self._is_json:
            return Record(position, path, raw)
        value = raw.strip().removeprefix(UTF8_MARK).strip()
        if not value:
            return Unreadable(position, path, raw, Reason.EMPTY_FILE, f"{path} holds blanks only")
        item = item_of(position, value, None, name=path)
        if isinstance(item, Record):
            # Valid JSON has line breaks only between tokens, where a blank means the same.
            item.raw = item.raw.replace(b"\n", b" ")
        return item


class _LongFile:
    """A file of JSON that is too large for memory, read in steps.

    Args:
        position: Of its record.
        path: Its path, and the record's key.
        file: Its file descriptor, which is closed at its end.
        spill_folder: Folder for its value.

    Attributes:
        size: Bytes read so far.
    """

    def __init__(self, position: Position, path: str, file: int, spill_folder: Path) -> None:
        self.size = 0
        self._position = position
        self._path = path
        self._file = file
        self._before = _state(file)
        self._value = LongValue(spill_folder, None, is_first=True)
        self._is_changed = False

    def step(self) -> bool:
        """Read a block; return whether it was the last one."""
        try:
            block = os.read(self._file, BLOCK_BYTES)
            self._is_changed |= _state(self._file) != self._before
        except OSError as error:
            raise _unread(self._path, error) from None
        self._value.feed(block)
        self.size += len(block)
        return not block or self._is_changed

    def item(self) -> Item:
        """Return the record, or why there is none."""
        item: Item | None = None
        if self._is_changed:
            item = _changed(self._position, self._path)
        else:
            item = item_of_long(self._position, self._value, None, name=self._path)
        self.close()
        if item is None:
            message = f"{self._path} holds blanks only"
            return Unreadable(self._position, self._path, b"", Reason.EMPTY_FILE, message)
        return item

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
        self._value.close()


def _state(file: int) -> _State:
    found = os.fstat(file)
    return found.st_size, found.st_mtime_ns


def _changed(position: Position, path: str) -> Unreadable:
    message = f"{path} was written to while it was read; give the run files that are finished"
    return Unreadable(position, path, b"", Reason.CHANGED_FILE, message)


def _unread(path: str, error: OSError) -> StateError:
    return StateError(
        f"{path} cannot be read ({error.strerror}); when it can, run the same command again to go "
        "on"
    )
