"""Compressed payloads whose exact size is known while they are being made.

A payload is one gzip member or one zstd frame, as one-shot decompressors expect. Its head and
trailer are written here, around the output of the compressors. So the content can come piece by
piece, the header of the content can be written last (that of a MessagePack array holds the number
of elements), and the payload can end after any piece. Each piece is flushed, which costs about five
bytes (gzip) or forty (zstd), and is still compressed with the help of the pieces before it.
"""

import zlib
from typing import Literal, Protocol, TypeAlias

import zstandard

Compression: TypeAlias = Literal["gzip", "zstd"]

_STEP_BYTES = 262_144
"""Content compressed between two comparisons with the limit."""

GZIP_LEVEL = 6
ZSTD_LEVEL = 3


class _CompressedFormat(Protocol):
    """A file format: its compressor, and the bytes around the output of that."""

    overhead: int
    """Bytes of head and trailer together."""

    def compress(self, piece: bytes) -> bytes:
        """Return the complete blocks of a piece; ``compress_and_flush`` returns the rest."""
        ...

    def compress_and_flush(self, piece: bytes) -> bytes:
        """Return complete blocks of a piece."""
        ...

    def stored(self, content: bytes, *, last: bool) -> bytes:
        """Return content in uncompressed blocks."""
        ...

    def enclose(self, blocks: bytes, content: list[bytes]) -> bytes:
        """Return the blocks of this content with head and trailer."""
        ...


class CompressedStream:
    """The content of one payload, compressed piece by piece; pure.

    Args:
        compression: The format.
    """

    def __init__(self, compression: Compression) -> None:
        self._format = _format_of(compression)
        self._plain: list[bytes] = []
        self._blocks: list[bytes] = []
        self._size = self._format.overhead

    def put(self, piece: bytes) -> int:
        """Compress a piece of content; return how many bytes it became."""
        blocks = self._format.compress_and_flush(piece)
        self._plain.append(piece)
        self._blocks.append(blocks)
        self._size += len(blocks)
        return len(blocks)

    def take_back(self) -> None:
        """Remove the last piece; nothing can be put in afterwards."""
        self._plain.pop()
        self._size -= len(self._blocks.pop())

    def size(self, before: bytes, after: bytes) -> int:
        """Return the exact size of a payload that ends here, in bytes, see ``payload``."""
        stored = self._format.stored
        return self._size + len(stored(before, last=False)) + len(stored(after, last=True))

    def payload(self, before: bytes, after: bytes) -> bytes:
        """Return the payload.

        Args:
            before: Content before the first piece.
            after: Content after the last one.
        """
        head = self._format.stored(before, last=False)
        tail = self._format.stored(after, last=True)
        blocks = b"".join((head, *self._blocks, tail))
        return self._format.enclose(blocks, [before, *self._plain, after])


def exceeds(content: bytes, compression: Compression, max_bytes: int) -> bool:
    """Return whether compressed content exceeds a size, without compressing all of it."""
    form = _format_of(compression)
    size = form.overhead
    for at in range(0, len(content), _STEP_BYTES):
        size += len(form.compress(content[at : at + _STEP_BYTES]))
        if size > max_bytes:
            return True
    return size + len(form.compress_and_flush(b"")) > max_bytes


def _format_of(compression: Compression) -> _CompressedFormat:
    return _Gzip() if compression == "gzip" else _Zstd()


class _Gzip:
    """One member of RFC 1952, with blocks of RFC 1951."""

    # Deflate, no flags, no time, no extra flags, system unknown.
    _HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    _MAX_STORED_BYTES = 65_535
    overhead = len(_HEAD) + 8

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)

    def compress(self, piece: bytes) -> bytes:
        return self._compressor.compress(piece)

    def compress_and_flush(self, piece: bytes) -> bytes:
        return self._compressor.compress(piece) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def stored(self, content: bytes, *, last: bool) -> bytes:
        blocks = []
        for part, is_end in _parts(content, self._MAX_STORED_BYTES, last=last):
            size = len(part)
            head = bytes((is_end,)) + size.to_bytes(2, "little")
            blocks += [head, (size ^ 0xFFFF).to_bytes(2, "little"), part]
        return b"".join(blocks)

    def enclose(self, blocks: bytes, content: list[bytes]) -> bytes:
        crc = size = 0
        for part in content:
            crc = zlib.crc32(part, crc)
            size += len(part)
        trailer = crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")
        return b"".join((self._HEAD, blocks, trailer))


class _Zstd:
    """One frame of RFC 8878 whose header holds the size of its content."""

    _MAGIC = b"\x28\xb5\x2f\xfd"
    # A frame of unknown size: only the window follows.
    _PLAIN_DESCRIPTOR = 0x00
    # The size of the content follows in four bytes.
    _SIZED_DESCRIPTOR = 0x80
    _MAX_STORED_BYTES = 131_072
    overhead = len(_MAGIC) + 1 + 1 + 4

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(ZSTD_LEVEL).compressobj()
        self._window = b""

    def compress(self, piece: bytes) -> bytes:
        return self._without_head(self._compressor.compress(piece))

    def compress_and_flush(self, piece: bytes) -> bytes:
        flushed = self._compressor.flush
        blocks = self._compressor.compress(piece) + flushed(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        return self._without_head(blocks)

    def _without_head(self, blocks: bytes) -> bytes:
        if self._window or not blocks:
            return blocks
        assert blocks[:5] == self._MAGIC + bytes((self._PLAIN_DESCRIPTOR,)), (
            "the frame was begun without a size or a checksum"
        )
        self._window = blocks[5:6]
        return blocks[6:]

    def stored(self, content: bytes, *, last: bool) -> bytes:
        blocks = []
        for part, is_end in _parts(content, self._MAX_STORED_BYTES, last=last):
            blocks += [(len(part) << 3 | is_end).to_bytes(3, "little"), part]
        return b"".join(blocks)

    def enclose(self, blocks: bytes, content: list[bytes]) -> bytes:
        size = sum(map(len, content))
        head = self._MAGIC + bytes((self._SIZED_DESCRIPTOR,)) + self._window
        return b"".join((head, size.to_bytes(4, "little"), blocks))


def _parts(content: bytes, max_bytes: int, *, last: bool) -> list[tuple[bytes, bool]]:
    """Return content in parts, each with whether it is the end; an end needs a part, even empty."""
    starts = range(0, len(content), max_bytes) or ((0,) if last else ())
    return [
        (content[at : at + max_bytes], last and at + max_bytes >= len(content)) for at in starts
    ]
