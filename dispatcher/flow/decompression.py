"""Compressed input, decoded block by block in bounded memory.

The same input gives the same decoded bytes in every run, also before a damaged place: positions of
records are offsets of decoded content, and a resumed run must find them again. So decoders cut
their input into slices of a fixed size, however it arrives.
"""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Literal, Protocol, TypeAlias

import zstandard

Compression: TypeAlias = Literal["none", "gzip", "zstd"]

MAGIC_BYTES = 4
"""Number of first bytes that ``detect`` looks at."""

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE_MAGIC = b"\x2a\x4d\x18"  # after one byte 0x50..0x5f (RFC 8878, section 3.1.2)

_GZIP_SLICE_BYTES = 16_384
_GZIP_OUTPUT_BYTES = 262_144
_ZSTD_SLICE_BYTES = 1024  # at most 32 MB of output: 256 blocks of 4 bytes, 128 kB each
_GZIP_WINDOW = 31  # zlib: the largest window, with a gzip header


class DamagedError(Exception):
    """Compressed input that cannot be decoded further; ``str()`` describes the damage."""


class Decoder(Protocol):
    """Decoder of the blocks of a file into blocks of its content."""

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Decode one block; the iterator must be exhausted before the next call.

        Raises:
            DamagedError: All that could be decoded has been yielded; nothing more will be.
        """
        ...

    def end(self) -> Iterator[bytes]:
        """Decode the rest at the end of the file.

        Raises:
            DamagedError: The file ends too early, or its last bytes are damaged.
        """
        ...


def detect(head: bytes) -> Compression:
    """Return the compression of a file by its first ``MAGIC_BYTES`` bytes."""
    if head.startswith(_GZIP_MAGIC):
        return "gzip"
    if head.startswith(_ZSTD_MAGIC):
        return "zstd"
    if head[1:4] == _ZSTD_SKIPPABLE_MAGIC and head[0] >> 4 == 5:
        return "zstd"
    return "none"


def undecided(head: bytes) -> bool:
    """Return whether more first bytes could still change what ``detect`` says."""
    skippable = bytes([head[0]]) + _ZSTD_SKIPPABLE_MAGIC if head and head[0] >> 4 == 5 else b""
    return not head or any(
        magic.startswith(head) and magic != head for magic in (_GZIP_MAGIC, _ZSTD_MAGIC, skippable)
    )


def decoder(compression: Compression) -> Decoder:
    """Return a new decoder for one file."""
    match compression:
        case "none":
            return PlainDecoder()
        case "gzip":
            return GzipDecoder()
        case "zstd":
            return ZstdDecoder()


class PlainDecoder:
    """Content that is not compressed."""

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Yield the block as it is."""
        yield block

    def end(self) -> Iterator[bytes]:
        """Yield nothing: every block was passed on."""
        return iter(())


class _Slices:
    """Blocks of any size cut into slices of one size; the last one may be shorter."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rest = b""

    def add(self, block: bytes) -> Iterator[bytes]:
        data = self._rest + block
        whole = len(data) - len(data) % self._size
        self._rest = data[whole:]
        for start in range(0, whole, self._size):
            yield data[start : start + self._size]

    def last(self) -> bytes:
        return self._rest


class _SlicedDecoder(ABC):
    """Decoder of members or frames, one behind the other, in slices of a fixed size.

    Args:
        name: The format, as messages name it.
        slice_bytes: The size of a slice.
    """

    def __init__(self, name: str, slice_bytes: int) -> None:
        self._name = name
        self._slices = _Slices(slice_bytes)
        self._begun = False

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Decode one block, see ``Decoder``."""
        for data in self._slices.add(block):
            yield from self._decode(data)

    def end(self) -> Iterator[bytes]:
        """Decode the last slice, see ``Decoder``."""
        yield from self._decode(self._slices.last())
        if self._begun:
            raise DamagedError(f"the {self._name} data ends too early")

    @abstractmethod
    def _decode(self, data: bytes) -> Iterator[bytes]:
        """Decode a slice; ``_begun`` is true inside a member or frame."""


class GzipDecoder(_SlicedDecoder):
    """Gzip of any number of members; zero bytes after a member are padding, as in gzip(1)."""

    def __init__(self) -> None:
        super().__init__("gzip", _GZIP_SLICE_BYTES)
        self._member = zlib.decompressobj(_GZIP_WINDOW)

    def _decode(self, data: bytes) -> Iterator[bytes]:
        while True:
            if not self._begun:
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._member = zlib.decompressobj(_GZIP_WINDOW)
                self._begun = True
            before = self._member.copy()
            try:
                content = self._member.decompress(data, _GZIP_OUTPUT_BYTES)
            except zlib.error as error:
                # zlib raises without the output made so far: decode it again byte by byte.
                yield _decode_until_damage(before, data)
                raise DamagedError(f"the gzip data is damaged ({error})") from None
            if content:
                yield content
            if self._member.eof:
                data = self._member.unused_data
                self._begun = False
                continue
            data = self._member.unconsumed_tail
            if not data and len(content) < _GZIP_OUTPUT_BYTES:
                return


def _decode_until_damage(member: "zlib._Decompress", data: bytes) -> bytes:
    content = bytearray()
    try:
        for index in range(len(data)):
            content += member.decompress(data[index : index + 1])
    except zlib.error:
        pass
    return bytes(content)


class ZstdDecoder(_SlicedDecoder):
    """Zstandard of any number of frames, skippable ones included."""

    def __init__(self) -> None:
        super().__init__("zstd", _ZSTD_SLICE_BYTES)
        self._frame = zstandard.ZstdDecompressor().decompressobj()

    def _decode(self, data: bytes) -> Iterator[bytes]:
        while data:
            if not self._begun:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
                self._begun = True
            try:
                content = self._frame.decompress(data)
            except zstandard.ZstdError as error:
                raise DamagedError(f"the zstd data is damaged ({error})") from None
            if content:
                yield content
            data = b""
            if self._frame.eof:
                data = self._frame.unused_data
                self._begun = False
