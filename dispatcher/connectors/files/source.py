"""Files as a source: each file is a record, as it is."""

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
from dispatcher.connectors.files.manifest import ManifestEntry
from dispatcher.errors import StateError
from dispatcher.flow.content import LARGE_BYTES, FileSlice
from dispatcher.reasons import Reason
from dispatcher.records.json_records import item_of, item_of_large
from dispatcher.records.large_value import UTF8_MARK, LargeValue
from dispatcher.records.record import Item, LargeRecord, Position, Record, Unreadable
from dispatcher.records.source import START, Mark

STREAM = "files"
"""The one stream: its offsets are bytes of the manifest."""

BLOCK_BYTES = 786_432
"""How much of a large file is read at once, and the size at which a batch is full."""

BATCH_RECORDS = 500
"""Most items of a batch."""

_FILE_ERRNOS = frozenset(
    {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO}
)
"""Errors of one file; any other (no descriptors left, a broken disk) is not the record's fault."""

_Version: TypeAlias = tuple[int, int]
"""Size in bytes and time of the last change in nanoseconds."""


def must_be_json(source: SourceSettings, packing: PackingSettings) -> bool:
    """Return whether each record has to be one JSON value, which is then put on one line."""
    return source.type != "files" or "raw" not in packing.encodings


class FilesSource:
    """Reads one file after the other, on a worker thread; a ``Source``.

    The files are listed once, when the run begins: a position is a file's place in that manifest,
    so a restart goes on where it was, and files that come later do not belong to the run.

    Args:
        settings: The section ``source``.
        manifest_path: The file that holds the manifest.
        is_json: Each file has to hold one JSON value; otherwise it may be anything.
        spill_folder: Folder for JSON that is too large for memory; None: the folder for temporary
            files.
    """

    def __init__(
        self,
        settings: SourceSettings,
        manifest_path: Path,
        *,
        is_json: bool,
        spill_folder: Path | None = None,
    ) -> None:
        self._settings = settings
        self._manifest_path = manifest_path
        self._is_json = is_json
        self._spill_folder = spill_folder or Path(tempfile.gettempdir())
        self._files: Iterator[ManifestEntry] = iter(())
        self._long: _LongFile | None = None
        self._ended = False
        self._read_bytes = 0

    async def open(self, marks: Mapping[str, Mark], heads: Mapping[str, str]) -> dict[str, str]:
        """Write the manifest, or find the one that the run began with, see ``Source``."""
        return await to_thread.run_sync(self._open, marks, heads)

    def _open(self, marks: Mapping[str, Mark], heads: Mapping[str, str]) -> dict[str, str]:
        if STREAM not in marks:
            manifest.write_manifest(self._settings.path, self._manifest_path)
        fingerprint = manifest.fingerprint(self._manifest_path)
        if heads.get(STREAM, fingerprint) != fingerprint:
            raise StateError(
                f"{self._manifest_path}, the list of this run's files, is not the one that it "
                "began with: restore it, or begin a new run with another ledger.path"
            )
        self._files = manifest.read_manifest(self._manifest_path, marks.get(STREAM, START))
        return {STREAM: fingerprint}

    async def read(self) -> list[Item]:
        """Return the next batch, see ``Source``."""
        while not self._ended:
            if batch := await to_thread.run_sync(self.step):
                return batch
        return []

    async def run(self) -> None:
        """Do nothing: files need nothing besides reading."""

    def stop(self) -> None:
        """Do nothing: only what ``read`` asks for is read."""

    def acknowledge(self, positions: Iterable[Position]) -> None:
        """Do nothing: the ledger's mark shows where to resume."""

    async def finish(self) -> None:
        """Do nothing: files keep what was read."""

    async def aclose(self) -> None:
        """Close the file that is being read."""
        self._ended = True
        self._files = iter(())
        if self._long is not None:
            self._long.close()
            self._long = None

    @property
    def may_pause(self) -> bool:
        """False: the files exist when the run begins."""
        return False

    @property
    def bytes_expected(self) -> int | None:
        """None: to ask a million files for their sizes would take too long."""
        return None

    @property
    def bytes_read(self) -> int:
        """Bytes of the files that this process has read."""
        return self._read_bytes

    def step(self) -> list[Item]:
        """Return the next items; none while a large file is being read, and at the end.

        It reads at most one block of a large file: a thread at work cannot be cancelled.
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
            entry = next(self._files, None)
            if entry is None:
                self._ended = not items
                break
            item = self._open_file(entry)
            if item is None:  # the items before it must not wait for it
                break
            items.append(item)
            taken = item.size if isinstance(item, Record | LargeRecord) else 0
            size += taken
            self._read_bytes += taken
        return items

    def _open_file(self, entry: ManifestEntry) -> Item | None:
        """Return a file as an item; None where it has to be read in steps."""
        position = Position(STREAM, entry.start, entry.end, entry.number)
        try:
            # Without O_NONBLOCK, opening a named pipe blocks until it has a writer.
            file = os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in _FILE_ERRNOS:
                raise _read_error(entry.path, error) from None
            reason = Reason.MISSING_FILE if error.errno == errno.ENOENT else Reason.UNREADABLE_FILE
            message = f"{entry.path} cannot be opened ({error.strerror})"
            return Unreadable(position, entry.path, b"", reason, message)
        stays_open = False
        try:
            status = os.fstat(file)
            if (item := self._refused(position, entry.path, status)) is not None:
                return item
            if status.st_size < LARGE_BYTES:
                return self._small(position, entry.path, file, status.st_size)
            stays_open = True
            if not self._is_json:
                return LargeRecord(
                    position, entry.path, FileSlice(file, 0, status.st_size, steady=True)
                )
            self._long = _LongFile(
                position=position, path=entry.path, file=file, spill_folder=self._spill_folder
            )
            return None
        except OSError as error:
            raise _read_error(entry.path, error) from None
        finally:
            if not stays_open:
                os.close(file)

    def _refused(self, position: Position, path: str, status: os.stat_result) -> Unreadable | None:
        if not stat.S_ISREG(status.st_mode):
            return Unreadable(
                position, path, b"", Reason.UNREADABLE_FILE, f"{path} is no regular file"
            )
        if not status.st_size:
            return Unreadable(position, path, b"", Reason.EMPTY_FILE, f"{path} is empty")
        if status.st_size > self._settings.max_record:
            message = (
                f"{path} is {status.st_size} bytes long, source.max_record is "
                f"{self._settings.max_record}"
            )
            return Unreadable(position, path, b"", Reason.TOO_LARGE, message)
        return None

    def _small(self, position: Position, path: str, file: int, size: int) -> Item:
        before = _version(file)
        raw = os.read(file, size)
        if len(raw) != size or os.read(file, 1) or _version(file) != before:
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
        path: Its path, which is the record's key.
        file: Its file descriptor, which ``close`` closes.
        spill_folder: Folder for its value.

    Attributes:
        size: Bytes read so far.
    """

    def __init__(self, *, position: Position, path: str, file: int, spill_folder: Path) -> None:
        self.size = 0
        self._position = position
        self._path = path
        self._file = file
        self._before = _version(file)
        self._value = LargeValue(spill_folder, None, is_first=True)
        self._is_changed = False

    def step(self) -> bool:
        """Read a block; return whether it was the last one."""
        try:
            block = os.read(self._file, BLOCK_BYTES)
            self._is_changed |= _version(self._file) != self._before
        except OSError as error:
            raise _read_error(self._path, error) from None
        self._value.feed(block)
        self.size += len(block)
        return not block or self._is_changed

    def item(self) -> Item:
        """Return the record, or the reason why there is none."""
        item: Item | None = None
        if self._is_changed:
            item = _changed(self._position, self._path)
        else:
            item = item_of_large(self._position, self._value, None, name=self._path)
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


def _version(file: int) -> _Version:
    status = os.fstat(file)
    return status.st_size, status.st_mtime_ns


def _changed(position: Position, path: str) -> Unreadable:
    message = f"{path} was written to while it was read; give the run files that are finished"
    return Unreadable(position, path, b"", Reason.CHANGED_FILE, message)


def _read_error(path: str, error: OSError) -> StateError:
    return StateError(
        f"{path} cannot be read ({error.strerror}); when it can, run the same command again to go "
        "on"
    )
