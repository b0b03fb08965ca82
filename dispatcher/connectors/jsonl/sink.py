"""JSON lines as a sink: appended to a file, and cut back to the ledger's mark on start."""

import errno
import fcntl
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

import anyio.to_thread

from dispatcher import failpoints
from dispatcher.connectors.outcome_lines import line_chunks
from dispatcher.errors import ConfigError, StateError
from dispatcher.flow.content import ChangedError, FileSlice
from dispatcher.flow.fsync import make_folder, sync_folder
from dispatcher.ledger.operations import SinkMark
from dispatcher.ledger.outcome import Outcome

TAIL_BYTES = 4096
"""How much before the recorded position is compared, to recognise the file that was written."""

_LARGE_LINE_BYTES = 1_000_000
"""A line of this size or more is written by itself: to copy it would cost more than a call."""

_NO_ROOM_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class JsonlFile:
    """A file of lines that can be cut back to any position that the ledger recorded.

    Synchronous and for one caller at a time; callers run it on a worker thread. Use ``open`` to
    make one and ``close`` to end it.
    """

    def __init__(self, *, path: str, file: int, position: int, last: bytes) -> None:
        self._path = path
        self._file = file
        self._position = position
        self._last = last

    @classmethod
    def open(cls, path: str, mark: SinkMark | None) -> Self:
        """Open the file and cut off what was written after the ledger's mark.

        Args:
            path: The file; a missing folder is created.
            mark: The last one that the ledger recorded; None where it does not know the file yet,
                so that nothing in it can belong to the run.

        Raises:
            ConfigError: The path is a folder, is not a regular file, or may not be written.
            StateError: The file is not the one the ledger knows, or another process writes it.
        """
        start = mark or SinkMark(0, 0, 0)
        try:
            file = _open(path, may_create=not start.position)
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be opened for writing ({error.strerror}); correct the path or its "
                "permissions"
            ) from None
        try:
            last = _cut_back(path, file, start, is_new=mark is None)
        except BaseException:
            os.close(file)
            raise
        return cls(path=path, file=file, position=start.position, last=last)

    @property
    def path(self) -> str:
        """The path as given."""
        return self._path

    @property
    def mark(self) -> SinkMark:
        """The position up to which the file is written."""
        return SinkMark(self._position, zlib.crc32(self._last), len(self._last))

    def append(self, lines: Sequence[bytes | Iterable[bytes]]) -> SinkMark:
        """Write lines, each followed by a line break; all of them or none.

        Args:
            lines: Lines without line breaks; those too long for memory are iterables of chunks.

        Raises:
            StateError: The lines cannot be written, and the file is as long as before; or another
                process or person has moved, cut or written the file.
        """
        self._check_unchanged()
        position, last = self._position, self._last
        try:
            for data in _joined(lines):
                self._write(data, position)
                position += len(data)
                last = (last + data[-TAIL_BYTES:])[-TAIL_BYTES:]
        except ChangedError as error:
            self._undo()
            raise StateError(
                f"a large record for {self._path} cannot be read from the spool beside the ledger "
                f"({error}). Run the same command again: it is then read from the source"
            ) from None
        except OSError as error:
            self._undo()
            if error.errno in _NO_ROOM_ERRNOS:
                raise StateError(
                    f"{self._path} cannot grow ({error.strerror}); make room and run the same "
                    "command again, nothing is lost"
                ) from None
            raise StateError(
                f"{self._path} cannot be written ({error.strerror}); when it can, run the same "
                "command again, nothing is lost"
            ) from None
        self._position, self._last = position, last
        return self.mark

    def sync(self) -> None:
        """Return when everything appended survives a power loss.

        Raises:
            StateError: The disk did not take it; the file has to be opened again.
        """
        try:
            os.fsync(self._file)
        except OSError as error:
            raise StateError(
                f"{self._path} could not be written to disk ({error.strerror}); when it can, run "
                "the same command again, nothing is lost"
            ) from None

    def close(self) -> None:
        """Close the file, without a sync; harmless when repeated."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _check_unchanged(self) -> None:
        """Raise where the file was moved, cut or written by others: later lines would be lost."""
        ours = os.fstat(self._file)
        try:
            exists = os.path.samestat(ours, os.stat(self._path))  # noqa: PTH116 - several times faster
        except OSError:
            exists = False
        if not exists or ours.st_size != self._position:
            what = f"{ours.st_size} bytes long" if exists else "not there any more"
            raise StateError(
                f"{self._path} was written to byte {self._position} and is {what}: another "
                "process or person changed it during the run. Restore it, and run the same command "
                "again"
            )

    def _write(self, data: bytes, at: int) -> None:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._file, rest, at)
            at += written
            rest = rest[written:]

    def _undo(self) -> None:
        try:
            os.ftruncate(self._file, self._position)
        except OSError:
            # The next start cuts the file back to the same position.
            return


class JsonlSink:
    """A ``Sink`` that writes to a file of lines.

    Args:
        file: The file.
        render: Makes a line of an outcome.
        durable: A line has to survive a power loss, too.
    """

    def __init__(
        self, file: JsonlFile, render: Callable[[Outcome], bytes], *, durable: bool
    ) -> None:
        self._file = file
        self._render = render
        self._durable = durable

    @property
    def name(self) -> str:
        """The path as given."""
        return self._file.path

    @property
    def mark(self) -> SinkMark:
        """The position up to which the file is written."""
        return self._file.mark

    async def write(self, outcomes: Sequence[Outcome]) -> None:
        """Append a line for each outcome, see ``Sink``, and close large inputs."""
        await anyio.to_thread.run_sync(self._write, outcomes)
        for outcome in outcomes:
            if isinstance(outcome.input, FileSlice):
                outcome.input.close()

    def _write(self, outcomes: Sequence[Outcome]) -> None:
        self._file.append(
            [
                line_chunks(outcome, self._render)
                if isinstance(outcome.input, FileSlice)
                else self._render(outcome)
                for outcome in outcomes
            ]
        )
        failpoints.reach("sink.appended")
        if self._durable:
            self._file.sync()
        failpoints.reach("sink.written")


def _joined(lines: Sequence[bytes | Iterable[bytes]]) -> Iterable[bytes]:
    """Yield lines with their line breaks: small ones joined, large ones and chunks singly."""
    small: list[bytes] = []
    for line in lines:
        if isinstance(line, bytes) and len(line) < _LARGE_LINE_BYTES:
            small.append(line)
            continue
        if small:
            yield b"\n".join([*small, b""])
            small = []
        yield from (line,) if isinstance(line, bytes) else line
        yield b"\n"
    if small:
        yield b"\n".join([*small, b""])


def _open(path: str, *, may_create: bool) -> int:
    file_path = Path(path)
    if file_path.is_dir():
        raise ConfigError(
            f"{path} is a folder; name a file in it, such as {file_path / 'out.jsonl'}"
        )
    if file_path.exists():
        if not stat.S_ISREG(file_path.stat().st_mode):
            raise ConfigError(
                f"{path} is not a regular file; results are cut back after a crash, which only "
                "a file on disk can be: name one"
            )
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    elif may_create:
        make_folder(file_path.parent)
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT, 0o666)
        sync_folder(file_path.parent)
    else:
        raise StateError(
            f"{path} is missing, but the ledger recorded results in it; restore it, or start a "
            "new run with a new ledger"
        )
    return file


def _cut_back(path: str, file: int, mark: SinkMark, *, is_new: bool) -> bytes:
    """Lock the file, compare it with the mark, cut it there, and return its last bytes."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StateError(
            f"{path} is being written by another process; wait for it, or name another file"
        ) from None
    size, position = os.fstat(file).st_size, mark.position
    if is_new and size:
        raise StateError(
            f"{path} holds {size} bytes from another run: this run's ledger knows nothing of them. "
            "Move the file away, name another one, or use the ledger it belongs to"
        )
    if size < position:
        raise StateError(
            f"{path} is shorter ({size} bytes) than the ledger recorded ({position} bytes): "
            "restore it, or start a new run with a new ledger"
        )
    if zlib.crc32(os.pread(file, mark.tail_length, position - mark.tail_length)) != mark.tail_crc:
        raise StateError(
            f"{path} does not end at byte {position} as the ledger recorded: it was edited or "
            "belongs to another run; restore it, or start a new run with a new ledger"
        )
    if size > position:
        os.ftruncate(file, position)
        os.fsync(file)
    length = min(position, TAIL_BYTES)
    return os.pread(file, length, position - length)
