"""Compressed payloads whose exact size is known while they are being made.

A payload is one gzip member or one zstd frame, as one-shot decompressors expect. Its container is
written here, around what the compressors make of the content: so the content can come piece by
piece, the header before it can be written last (that of a MessagePack array tells how many follow),
and the payload can end after any piece. Each piece is flushed, which costs some five bytes (gzip)
or forty (zstd), and what came before it still serves to compress it.
"""

import zlib
from typing import Literal, Protocol, TypeAlias

import zstandard

Compression: TypeAlias = Literal["gzip", "zstd"]

_LOOK_BYTES = 262_144

GZIP_LEVEL = 6
ZSTD_LEVEL = 3


class _Container(Protocol):
    """How a compressor's output becomes something that a decompressor takes."""

    overhead: int
    """Bytes of head and trailer together."""

    def begin(self, piece: bytes) -> bytes:
        """Return the blocks of a piece that are whole already; ``press`` the rest of it."""
        ...

    def press(self, piece: bytes) -> bytes:
        """Return whole blocks of a piece."""
        ...

    def stored(self, content: bytes, *, last: bool) -> bytes:
        """Return content in blocks that are not compressed."""
        ...

    def enclose(self, blocks: bytes, content: list[bytes]) -> bytes:
        """Return blocks of this content with head and trailer."""
        ...


class CompressedStream:
    """The content of one payload on its way through a compressor; pure.

    Args:
        compression: The kind.
    """

    def __init__(self, compression: Compression) -> None:
        self._container = _container(compression)
        self._plain: list[bytes] = []
        self._blocks: list[bytes] = []
        self._size = self._container.overhead

    def put(self, piece: bytes) -> int:
        """Compress a piece of content; return how many bytes it became."""
        blocks = self._container.press(piece)
        self._plain.append(piece)
        self._blocks.append(blocks)
        self._size += len(blocks)
        return len(blocks)

    def take_back(self) -> None:
        """Take the last piece back; nothing can be put in any more."""
        self._plain.pop()
        self._size -= len(self._blocks.pop())

    def size(self, before: bytes, after: bytes) -> int:
        """Return the exact size of a payload that ends here, in bytes, see ``payload``."""
        stored = self._container.stored
        return self._size + len(stored(before, last=False)) + len(stored(after, last=True))

    def payload(self, before: bytes, after: bytes) -> bytes:
        """Return the payload.

        Args:
            before: Content before the first piece.
            after: Content after the last one.
        """
        head = self._container.stored(before, last=False)
        tail = self._container.stored(after, last=True)
        blocks = b"".join((head, *self._blocks, tail))
        return self._container.enclose(blocks, [before, *self._plain, after])


def exceeds(content: bytes, compression: Compression, most: int) -> bool:
    """Return whether content becomes more than so many bytes, without compressing all of it."""
    container = _container(compression)
    size = container.overhead
    for at in range(0, len(content), _LOOK_BYTES):
        size += len(container.begin(content[at : at + _LOOK_BYTES]))
        if size > most:
            return True
    return size + len(container.press(b"")) > most


def _container(compression: Compression) -> _Container:
    return _Gzip() if compression == "gzip" else _Zstd()


class _Gzip:
    """One member of RFC 1952, with blocks of RFC 1951."""

    # Deflate, no flags, no time, no extra flags, system unknown.
    _HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    _MOST_STORED = 65_535
    overhead = len(_HEAD) + 8

    def __init__(self) -> None:
        self._press = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)

    def begin(self, piece: bytes) -> bytes:
        return self._press.compress(piece)

    def press(self, piece: bytes) -> bytes:
        return self._press.compress(piece) + self._press.flush(zlib.Z_SYNC_FLUSH)

    def stored(self, content: bytes, *, last: bool) -> bytes:
        blocks = []
        for part, is_end in _parts(content, self._MOST_STORED, last=last):
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
    """One frame of RFC 8878, which tells the size of its content."""

    _MAGIC = b"\x28\xb5\x2f\xfd"
    # Of a frame of unknown size: nothing but the window follows.
    _PLAIN_DESCRIPTOR = 0x00
    # The size of the content follows in four bytes.
    _SIZED_DESCRIPTOR = 0x80
    _MOST_STORED = 131_072
    overhead = len(_MAGIC) + 1 + 1 + 4

    def __init__(self) -> None:
        self._press = zstandard.ZstdCompressor(ZSTD_LEVEL).compressobj()
        self._window = b""

    def begin(self, piece: bytes) -> bytes:
        return self._without_head(self._press.compress(piece))

    def press(self, piece: bytes) -> bytes:
        flushed = self._press.flush
        blocks = self._press.compress(piece) + flushed(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        return self._without_head(blocks)

    def _without_head(self, blocks: bytes) -> bytes:
        if self._window or not blocks:
            return blocks
        assert blocks[:5] == self._MAGIC + bytes((self._PLAIN_DESCRIPTOR,)), "asked for nothing"
        self._window = blocks[5:6]
        return blocks[6:]

    def stored(self, content: bytes, *, last: bool) -> bytes:
        blocks = []
        for part, is_end in _parts(content, self._MOST_STORED, last=last):
            blocks += [(len(part) << 3 | is_end).to_bytes(3, "little"), part]
        return b"".join(blocks)

    def enclose(self, blocks: bytes, content: list[bytes]) -> bytes:
        size = sum(map(len, content))
        head = self._MAGIC + bytes((self._SIZED_DESCRIPTOR,)) + self._window
        return b"".join((head, size.to_bytes(4, "little"), blocks))


def _parts(content: bytes, most: int, *, last: bool) -> list[tuple[bytes, bool]]:
    """Return content in parts, and whether each ends it all; an end needs a part, even empty."""
    starts = range(0, len(content), most) or ((0,) if last else ())
    return [(content[at : at + most], last and at + most >= len(content)) for at in starts]
