"""Read one stream block by block: decompress, split and parse it without holding all of it."""

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dispatcher.config.connectors import SourceSettings
from dispatcher.connectors.jsonl.line_splitter import LineSplitter, Piece, TooLong
from dispatcher.connectors.jsonl.paths import STDIN, changed_error, shorter_error
from dispatcher.errors import StateError
from dispatcher.flow.decompression import (
    MAGIC_BYTES,
    DamagedError,
    Decoder,
    decoder,
    detect,
    undecided,
)
from dispatcher.records.json_records import JsonLines
from dispatcher.records.large_value import LargeValue
from dispatcher.records.record import Item
from dispatcher.records.source import Mark

BLOCK_BYTES = 786_432
"""How much is read at once: small enough that a batch made from it stays near 1 MB."""

BATCH_RECORDS = 2_000
"""Most items of a batch."""


class StreamReader:
    """Makes batches of items from a file descriptor; ``step`` blocks on files, never on pipes.

    Args:
        name: Name of the stream.
        file: Its file descriptor, read from its current offset (a plain file: from the mark).
        settings: The section ``source``.
        mark: Where to resume.
        spill_folder: Folder for records that are too large for memory; None: the folder for
            temporary files.

    Attributes:
        file: The file descriptor.
        may_block: When ``needs_input``, ``step`` must not be called before the descriptor is
            readable.
        consumed: Bytes read of the file, as on disk.
    """

    def __init__(
        self,
        *,
        name: str,
        file: int,
        settings: SourceSettings,
        mark: Mark,
        spill_folder: Path | None = None,
    ) -> None:
        self.file = file
        self.may_block = _may_block(file)
        self.consumed = 0
        self._name = name
        self._mark = mark
        self._skip = mark.offset
        folder, key, is_start = (
            spill_folder or Path(tempfile.gettempdir()),
            settings.key,
            mark.line == 0,
        )
        self._splitter = LineSplitter(
            settings.max_record,
            lambda is_first: LargeValue(folder, key, is_first=is_first and is_start),
        )
        self._parser = JsonLines(name, key=settings.key, max_bytes=settings.max_record, mark=mark)
        self._compression = None if settings.compression == "auto" else settings.compression
        self._head = b""
        self._decoder: Decoder | None = None
        self._batches: Iterator[list[Item]] = iter(())
        self._next: list[Item] | None = None
        self._exhausted = False
        if mark.offset and name != STDIN and stat.S_ISREG(os.fstat(file).st_mode):
            kind = self._compression or detect(os.pread(file, MAGIC_BYTES, 0))
            if kind == "none":
                self._begin_after(os.pread(file, 1, mark.offset - 1))
                self.consumed = min(
                    os.lseek(file, mark.offset, os.SEEK_SET), os.fstat(file).st_size
                )
                self._compression = kind
                self._skip = 0

    @property
    def needs_input(self) -> bool:
        """The next step has to read."""
        return self._next is None and not self._exhausted

    @property
    def ended(self) -> bool:
        """There will be no further batch."""
        return self._next is None and self._exhausted

    def step(self) -> list[Item]:
        """Read one block at most and return the next batch; empty where there is none yet.

        Call it until it has ``ended``. It reads one block even where that yields nothing, such as
        before the mark of a compressed file: a thread at work cannot be cancelled.

        Raises:
            StateError: The file can no longer be read, or is not the one that the mark belongs to.
        """
        if self.needs_input:
            try:
                block = os.read(self.file, BLOCK_BYTES)
            except BlockingIOError:
                return []
            except OSError as error:
                raise StateError(
                    f"{self._name} cannot be read any further ({error.strerror}); when it can, "
                    "run the same command again to go on"
                ) from None
            self.consumed += len(block)
            self._exhausted = not block
            self._batches = self._take(block)
            self._next = next(self._batches, None)
        batch = self._next or []
        # One batch ahead, so that `needs_input` and `ended` are known without another thread hop.
        self._next = next(self._batches, None)
        return batch

    def _take(self, block: bytes) -> Iterator[list[Item]]:
        if self._decoder is None:
            block = self._head = self._head + block
            if self._compression is None and undecided(block) and not self._exhausted:
                return
            self._decoder = decoder(self._compression or detect(block))
            self._head = b""
        try:
            for content in self._contents(self._decoder.feed(block)):
                yield from self._items(self._splitter.feed(content))
            if self._exhausted:
                for content in self._contents(self._decoder.end()):
                    yield from self._items(self._splitter.feed(content))
                # The mark after a last line without a line break lies one byte behind the end.
                if self._skip > 1:
                    raise shorter_error(self._name, self._mark, self._mark.offset - self._skip)
                yield from self._items(self._splitter.end())
        except DamagedError as damage:
            self._exhausted = True
            # A mark one byte behind everything that can be decoded: the damage was settled before.
            if self._skip > 1:
                raise shorter_error(
                    self._name, self._mark, self._mark.offset - self._skip
                ) from None
            if not self._skip:
                yield [self._parser.damaged(str(damage), self._splitter.held)]

    def _contents(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Join chunks into about a block each, and leave out what lies before the mark."""
        chunks_held: list[bytes] = []
        size = 0
        damage = None
        while True:
            try:
                chunk = next(chunks, None)
            except DamagedError as error:
                damage, chunk = error, None
            if chunk is None or size >= BLOCK_BYTES:
                content = b"".join(chunks_held)
                chunks_held.clear()
                size = 0
                for start in range(0, len(content), 2 * BLOCK_BYTES):
                    yield content[start : start + 2 * BLOCK_BYTES]
            if damage is not None:
                raise damage
            if chunk is None:
                return
            if self._skip:
                skipped = min(self._skip, len(chunk))
                self._skip -= skipped
                if not self._skip:
                    self._begin_after(chunk[skipped - 1 : skipped])
                chunk = chunk[skipped:]
            chunks_held.append(chunk)
            size += len(chunk)

    def _begin_after(self, last: bytes) -> None:
        """Check the byte before the mark: a line break, or nothing where the content ended."""
        if last not in (b"\n", b""):
            raise changed_error(self._name)

    def _items(self, pieces: Iterator[Piece]) -> Iterator[list[Item]]:
        for piece in pieces:
            if isinstance(piece, TooLong):
                yield [self._parser.skip(piece.length)]
                continue
            if isinstance(piece, LargeValue):
                if items := self._parser.add(piece):
                    yield items
                continue
            for start in range(0, len(piece), BATCH_RECORDS):
                lines = piece[start : start + BATCH_RECORDS]
                items = self._parser.parse(lines)
                if items:
                    yield items


def _may_block(file: int) -> bool:
    """Return whether reading may block for long; such descriptors can be polled, files cannot."""
    mode = os.fstat(file).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(file)
