"""Spool: the records of outstanding invocations, on disk beside the ledger until they are settled.

Retries, ``join: both`` and dead letters need the bytes hours later, and memory is bounded. They are
appended to segments; a segment is deleted when nothing in it is outstanding. The spool is not
synced: it survives a killed process, and after a power loss its checksums show what is missing and
the source is read again.
"""

import errno
import os
import threading
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dispatcher.errors import StateError
from dispatcher.flow.content import LARGE_BYTES, ChangedError, FileSlice
from dispatcher.ledger.invocation import SpoolRef

SEGMENT_BYTES = 32_000_000
"""A segment that has reached this size is closed: one stuck payload keeps no more on disk."""

_GONE = (errno.ENOENT, errno.EBADF, errno.EIO)
"""Errors of lost bytes: no such segment, closed a moment ago, or its blocks cannot be read."""


class Spool:
    """Segments of payloads in a folder.

    ``append`` and ``release`` belong to the ledger's writer; any thread may call ``read`` and
    ``open_slice`` for a payload that is outstanding.

    Attributes:
        size: Bytes in all segments on disk.
    """

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._files: dict[int, int] = {}
        self._opening = threading.Lock()
        self._sizes = {
            int(p.stem): p.stat().st_size for p in folder.glob("*.spool") if p.stem.isdecimal()
        }
        self._live: Counter[int] = Counter()
        self._current = max(self._sizes, default=0)
        self.size = sum(self._sizes.values())

    def __repr__(self) -> str:
        return f"<Spool {self._folder}: {self.size} bytes in {len(self._sizes)} segments>"

    def recover(self, ref: SpoolRef) -> bool:
        """Count a payload of an earlier process as outstanding; False if its bytes are not there.

        When all are recovered, call ``begin``.
        """
        if self._sizes.get(ref.segment, 0) < ref.offset + ref.size or not self._is_intact(ref):
            return False
        self._live[ref.segment] += 1
        return True

    def begin(self) -> None:
        """Delete the segments without a recovered payload, and start a new one."""
        for segment in list(self._sizes):
            if not self._live[segment]:
                self._delete(segment)
        self._next_segment()

    def append(self, payloads: Sequence[bytes | FileSlice]) -> list[SpoolRef]:
        """Write payloads and return their places; file slices are closed then.

        Raises:
            StateError: The disk is full or fails, or the file of a slice has changed.
        """
        refs: list[SpoolRef] = []
        pending: list[bytes] = []
        for payload in payloads:
            if isinstance(payload, FileSlice):
                refs += self._append(pending)
                pending = []
                refs.append(self._append_slice(payload))
            else:
                pending.append(payload)
        return refs + self._append(pending)

    def _append(self, payloads: Sequence[bytes]) -> list[SpoolRef]:
        if not payloads:
            return []
        refs = []
        offset = start = self._sizes[self._current]
        for payload in payloads:
            refs.append(SpoolRef(self._current, offset, len(payload), zlib.crc32(payload)))
            offset += len(payload)
        self._write(payloads[0] if len(payloads) == 1 else b"".join(payloads), start)
        self._count(offset, len(refs))
        return refs

    def _append_slice(self, large: FileSlice) -> SpoolRef:
        offset = self._sizes[self._current]
        if offset and offset + large.size > self._segment_bytes:
            # Otherwise a small payload that is stuck would keep a large one on disk.
            full = self._current
            self._next_segment()
            if not self._live[full]:
                self._delete(full)
            offset = 0
        ref = SpoolRef(self._current, offset, large.size, self._copy(large, offset))
        self._count(offset + large.size, 1)
        return ref

    def _count(self, end: int, payloads: int) -> None:
        self._live[self._current] += payloads
        self.size += end - self._sizes[self._current]
        self._sizes[self._current] = end
        if end >= self._segment_bytes:
            self._next_segment()

    def read(self, ref: SpoolRef) -> bytes | None:
        """Return a payload, or None if its bytes are damaged or gone.

        It may be settled, and its segment deleted, while a thread is about to read it.
        """
        try:
            payload = os.pread(self._file(ref.segment), ref.size, ref.offset)
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise
        if len(payload) != ref.size or zlib.crc32(payload) != ref.crc:
            return None
        return payload

    def open_slice(self, ref: SpoolRef) -> FileSlice | None:
        """Return a large payload unread, or None if it is gone; reading it checks its checksum.

        It stays readable until the slice is closed, even if it is settled meanwhile.
        """
        try:
            with self._opening:  # else the segment may be deleted, and its descriptor reused
                file = os.dup(self._open(ref.segment))
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise
        return FileSlice(file, ref.offset, ref.size, crc=ref.crc)

    def share(self, refs: Sequence[SpoolRef]) -> None:
        """Count parts of a payload as payloads of their own."""
        for ref in refs:
            self._live[ref.segment] += 1

    def release(self, refs: Sequence[SpoolRef]) -> None:
        """Release payloads that are settled, and delete segments without any other."""
        for ref in refs:
            self._live[ref.segment] -= 1
            if not self._live[ref.segment] and ref.segment != self._current:
                self._delete(ref.segment)

    def close(self) -> None:
        """Close the files; outstanding payloads stay on disk."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()

    def _is_intact(self, ref: SpoolRef) -> bool:
        if ref.size < LARGE_BYTES:
            return self.read(ref) is not None
        large = self.open_slice(ref)
        if large is None:
            return False
        try:
            for _ in large.chunks():
                pass
        except ChangedError:
            return False
        except OSError as error:
            if error.errno in _GONE:
                return False
            raise
        finally:
            large.close()
        return True

    def _copy(self, large: FileSlice, offset: int) -> int:
        """Write a file slice in pieces, close it, and return its CRC-32."""
        crc = 0
        try:
            for chunk in large.chunks():
                self._write(chunk, offset)
                offset += len(chunk)
                crc = zlib.crc32(chunk, crc)
        except ChangedError as error:
            raise StateError(
                f"a large record changed while it was read: {error}. Give the run files that "
                "do not change, and run the same command again; everything so far is kept"
            ) from None
        except OSError as error:
            raise StateError(
                f"a large record could not be read ({error.strerror}). When it can, run the same "
                "command again; everything so far is kept"
            ) from error
        large.close()
        return crc

    def _write(self, data: bytes, offset: int) -> None:
        view = memoryview(data)
        try:
            file = self._file(self._current)
            while view:
                written = os.pwrite(file, view, offset)
                view = view[written:]
                offset += written
        except OSError as error:
            raise self._write_error(error) from error

    def _next_segment(self) -> None:
        self._current += 1
        self._sizes[self._current] = 0
        try:
            self._path(self._current).touch()
        except OSError as error:
            raise self._write_error(error) from error

    def _write_error(self, error: OSError) -> StateError:
        return StateError(
            f"cannot write {self._path(self._current)}: {error.strerror}. Free some space and run "
            "the same command again; everything so far is kept"
        )

    def _file(self, segment: int) -> int:
        if (file := self._files.get(segment)) is not None:
            return file
        with self._opening:
            return self._open(segment)

    def _open(self, segment: int) -> int:
        if segment not in self._files:
            self._files[segment] = os.open(self._path(segment), os.O_RDWR | os.O_CLOEXEC)
        return self._files[segment]

    def _delete(self, segment: int) -> None:
        with self._opening:  # else a reader may open it in between, and it stays open
            if (file := self._files.pop(segment, None)) is not None:
                os.close(file)
            self._path(segment).unlink(missing_ok=True)
        self.size -= self._sizes.pop(segment)
        del self._live[segment]

    def _path(self, segment: int) -> Path:
        return self._folder / f"{segment:08d}.spool"
