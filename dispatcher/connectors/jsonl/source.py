"""JSON lines as a source: files, pipes and standard input."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import anyio
from anyio import to_thread

from dispatcher.config.connectors import SourceSettings
from dispatcher.connectors.jsonl.paths import STDIN, InputStream, inspect_streams
from dispatcher.connectors.jsonl.stream_reader import StreamReader
from dispatcher.errors import StateError
from dispatcher.records.record import Item, Position
from dispatcher.records.source import START, Mark


class JsonlSource:
    """Reads one stream after the other, on a worker thread; a ``Source``.

    A stream is a file's path or ``-``; its offsets are bytes of decoded content. A file that grows
    is read up to the end that it has when reading gets there. The event loop waits for pipes, so
    that a silent one never keeps the process from ending.

    Args:
        settings: The section ``source``.
        stdin: File descriptor of standard input; it is never closed.
        spill_folder: Folder for records that are too large for memory; None: the folder for
            temporary files.
    """

    def __init__(
        self, settings: SourceSettings, *, stdin: int = 0, spill_folder: Path | None = None
    ) -> None:
        self._settings = settings
        self._stdin = stdin
        self._spill_folder = spill_folder
        self._marks: Mapping[str, Mark] = {}
        self._streams: list[InputStream] = []
        self._index = 0
        self._bytes_behind = 0
        self._reader: StreamReader | None = None

    async def open(self, marks: Mapping[str, Mark], heads: Mapping[str, str]) -> dict[str, str]:
        """Find and check all files, see ``Source``."""
        self._marks = marks
        compression = self._settings.compression

        def inspect() -> list[InputStream]:
            return inspect_streams(
                self._settings.path,
                stdin=self._stdin,
                marks=marks,
                heads=heads,
                compression=None if compression == "auto" else compression,
            )

        self._streams = await to_thread.run_sync(inspect)
        return {stream.name: stream.head for stream in self._streams if stream.head is not None}

    async def read(self) -> list[Item]:
        """Return the next batch, see ``Source``."""
        while True:
            if self._reader is None:
                if self._index == len(self._streams):
                    return []
                self._reader = await to_thread.run_sync(self._begin, self._streams[self._index])
            reader = self._reader
            if reader.may_block and reader.needs_input:
                await anyio.wait_readable(reader.file)
            batch = await to_thread.run_sync(reader.step)
            if reader.ended:
                self._bytes_behind += reader.consumed
                self._index += 1
                self._close()
            if batch:
                return batch

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
        self._index = len(self._streams)
        self._close()

    @property
    def may_pause(self) -> bool:
        """True where an input is a pipe or a terminal."""
        return any(stream.size is None for stream in self._streams)

    @property
    def bytes_expected(self) -> int | None:
        """Bytes read, and the size that the rest had at the start."""
        expected = self._bytes_behind
        for stream in self._streams[self._index :]:
            if stream.size is None:
                return None
            expected += stream.size
        return max(expected, self.bytes_read)

    @property
    def bytes_read(self) -> int:
        """Bytes read, as on disk."""
        return self._bytes_behind + (self._reader.consumed if self._reader else 0)

    def _begin(self, stream: InputStream) -> StreamReader:
        name = stream.name
        mark = self._marks.get(name, START)
        if name == STDIN:
            return self._reader_of(name, self._stdin, mark)
        try:
            # Without O_NONBLOCK, opening a named pipe blocks until it has a writer.
            file = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise StateError(
                f"{name} can no longer be opened ({error.strerror}); restore it and run the same "
                "command again to go on"
            ) from None
        return self._reader_of(name, file, mark)

    def _reader_of(self, name: str, file: int, mark: Mark) -> StreamReader:
        return StreamReader(
            name=name,
            file=file,
            settings=self._settings,
            mark=mark,
            spill_folder=self._spill_folder,
        )

    def _close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and reader.file != self._stdin:
            os.close(reader.file)
