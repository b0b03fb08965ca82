"""Payloads kept beside the ledger until they are settled.

Retries, ``join: both`` and dead letters need the bytes hours later, and memory is bounded. They are
appended to segments; a segment is deleted when nothing in it is outstanding. The spool is not
synced: it survives a killed process, and after a power loss its checksums say what is missing and
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
"""A segment that has reached this size is closed: what one stuck payload can keep on disk."""

_GONE = (errno.ENOENT, errno.EBADF, errno.EIO)
"""No such segment, closed a moment ago, or its blocks cannot be read."""


class Spool:
    """Segments of payloads in a folder.

    ``append`` and ``release`` belong to the ledger's writer; ``read`` and ``blob`` may be called
    from any thread for a payload that is outstanding.

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

    def adopt(self, ref: SpoolRef) -> bool:
        """Count a payload of an earlier process as outstanding; False if its bytes are not there.

        After all are adopted, call ``begin``.
        """
        if self._sizes.get(ref.segment, 0) < ref.offset + ref.size or not self._is_whole(ref):
            return False
        self._live[ref.segment] += 1
        return True

    def begin(self) -> None:
        """Delete what nobody adopted and start a new segment."""
        for segment in list(self._sizes):
            if not self._live[segment]:
                self._delete(segment)
        self._next_segment()

    def append(self, payloads: Sequence[bytes | FileSlice]) -> list[SpoolRef]:
        """Write payloads and return where they lie; blobs are closed then.

        Raises:
            StateError: The disk is full or fails, or what a blob was made of has changed.
        """
        refs: list[SpoolRef] = []
        held: list[bytes] = []
        for payload in payloads:
            if isinstance(payload, FileSlice):
                refs += self._append(held)
                held = []
                refs.append(self._append_blob(payload))
            else:
                held.append(payload)
        return refs + self._append(held)

    def _append(self, payloads: Sequence[bytes]) -> list[SpoolRef]:
        if not payloads:
            return []
        refs = []
        offset = start = self._sizes[self._current]
        for payload in payloads:
            refs.append(SpoolRef(self._current, offset, len(payload), zlib.crc32(payload)))
            offset += len(payload)
        self._write(payloads[0] if len(payloads) == 1 else b"".join(payloads), start)
        self._written(offset, len(refs))
        return refs

    def _append_blob(self, blob: FileSlice) -> SpoolRef:
        offset = self._sizes[self._current]
        if offset and offset + blob.size > self._segment_bytes:
            # Or a small payload that is stuck would keep a large one on disk.
            full = self._current
            self._next_segment()
            if not self._live[full]:
                self._delete(full)
            offset = 0
        ref = SpoolRef(self._current, offset, blob.size, self._copy(blob, offset))
        self._written(offset + blob.size, 1)
        return ref

    def _written(self, end: int, payloads: int) -> None:
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

    def blob(self, ref: SpoolRef) -> FileSlice | None:
        """Return a large payload unread, or None if it is gone; its checksum is checked on the way.

        It stays readable until the blob is closed, even if it is settled meanwhile.
        """
        try:
            with self._opening:  # or the segment is deleted, and the number given to another file
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
        """Let go of payloads that are settled."""
        for ref in refs:
            self._live[ref.segment] -= 1
            if not self._live[ref.segment] and ref.segment != self._current:
                self._delete(ref.segment)

    def close(self) -> None:
        """Close the files; what is outstanding stays on disk."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()

    def _is_whole(self, ref: SpoolRef) -> bool:
        if ref.size < LARGE_BYTES:
            return self.read(ref) is not None
        blob = self.blob(ref)
        if blob is None:
            return False
        try:
            for _ in blob.chunks():
                pass
        except ChangedError:
            return False
        except OSError as error:
            if error.errno in _GONE:
                return False
            raise
        finally:
            blob.close()
        return True

    def _copy(self, blob: FileSlice, offset: int) -> int:
        """Write a blob in pieces, close it, and return its CRC-32."""
        crc = 0
        try:
            for chunk in blob.chunks():
                self._write(chunk, offset)
                offset += len(chunk)
                crc = zlib.crc32(chunk, crc)
        except ChangedError as error:
            raise StateError(
                f"a large record changed while it was read: {error}. Give the run files that "
                "nobody writes to, and run the same command again; everything so far is kept"
            ) from None
        except OSError as error:
            raise StateError(
                f"a large record could not be read ({error.strerror}). When it can, run the same "
                "command again; everything so far is kept"
            ) from error
        blob.close()
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
            raise self._unwritten(error) from error

    def _next_segment(self) -> None:
        self._current += 1
        self._sizes[self._current] = 0
        try:
            self._path(self._current).touch()
        except OSError as error:
            raise self._unwritten(error) from error

    def _unwritten(self, error: OSError) -> StateError:
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
        with self._opening:  # or a reader opens it once more in between, and nobody closes it
            if (file := self._files.pop(segment, None)) is not None:
                os.close(file)
            self._path(segment).unlink(missing_ok=True)
        self.size -= self._sizes.pop(segment)
        del self._live[segment]

    def _path(self, segment: int) -> Path:
        return self._folder / f"{segment:08d}.spool"
