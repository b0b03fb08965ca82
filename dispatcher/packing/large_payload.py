"""The payload of a large record piece by piece, so that it need not be held in memory.

A record that is sent as it was read is framed, and compressed, while it is sent. An encoding that
needs the value (MessagePack, or a ``select``) parses it, and so needs the whole record in memory,
and the whole payload beside it.
"""

import hashlib
import zlib
from collections.abc import Iterator

import zstandard

from dispatcher.config.packing import Encoding
from dispatcher.flow.content import FileSlice
from dispatcher.packing.codec import Codec, compression_of
from dispatcher.packing.compression import GZIP_LEVEL, ZSTD_LEVEL
from dispatcher.packing.framing import Frame

_GZIP_WINDOW = 31
"""To zlib: its largest window, and the header and trailer of gzip around."""


def is_streamed(codec: Codec, encoding: Encoding) -> bool:
    """Return whether a large record is sent without ever being whole in memory."""
    return codec.splices(encoding)


def pieces(content: FileSlice, codec: Codec, encoding: Encoding) -> Iterator[bytes]:
    """Yield the payload of one large record; blocks on the disk and on the processor.

    Args:
        content: The record as it was read.
        codec: Frames and encodes.
        encoding: The encoding of the payload.

    Raises:
        ChangedError: The content has changed.
        NotEncodableError: The encoding cannot carry the record.
    """
    if not is_streamed(codec, encoding):
        yield codec.payload([content.read()], encoding)
        return
    match compression_of(encoding):
        case None:
            yield from _framed(content, codec)
        case "gzip":
            gzip = zlib.compressobj(GZIP_LEVEL, wbits=_GZIP_WINDOW)
            for piece in _framed(content, codec):
                yield gzip.compress(piece)
            yield gzip.flush()
        case "zstd":
            # With the size given, the frame's header holds it, as after compressing all at once.
            size = codec.frame.size(content.size, 1)
            zstd = zstandard.ZstdCompressor(ZSTD_LEVEL).compressobj(size=size)
            for piece in _framed(content, codec):
                yield zstd.compress(piece)
            yield zstd.flush()


def _framed(content: FileSlice, codec: Codec) -> Iterator[bytes]:
    yield codec.frame.before
    yield from content.chunks()
    yield codec.frame.after


def exact_size(sizes: int, count: int, codec: Codec, encoding: Encoding) -> int | None:
    """Return the bytes of a payload where they follow from its records' sizes, else None.

    Args:
        sizes: Bytes of all its records together, as they were read.
        count: The number of these records.
        codec: Frames and encodes.
        encoding: The encoding of the payload.
    """
    if not codec.splices(encoding) or compression_of(encoding) is not None:
        return None
    return codec.frame.size(sizes, count)


def digest_of_payload(payload: bytes, encoding: Encoding, content_type: str) -> str:
    """Return the digest that names a payload, in hexadecimal digits."""
    digest = _digest_of_parts(encoding, content_type)
    digest.update(payload)
    return digest.hexdigest()


def digest_of_content(
    content: FileSlice, encoding: Encoding, content_type: str, *, frame: Frame, select: str
) -> str:
    """Return the digest that names a large record's payload; blocks on the disk.

    It covers everything the payload is made from, so that nothing is encoded only to be named.

    Args:
        content: The record as it was read.
        encoding: The encoding of the payload.
        content_type: The MIME type of the payload.
        frame: The bytes around the record.
        select: The JMESPath expression for the part that is sent; empty for all of it.

    Raises:
        ChangedError: The content has changed.
    """
    digest = _digest_of_parts(encoding, content_type, frame.join([b"\0"]), select.encode())
    for chunk in content.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def _digest_of_parts(encoding: Encoding, content_type: str, *parts: bytes) -> "hashlib._Hash":
    digest = hashlib.sha256()
    for part in (encoding.encode(), content_type.encode(), *parts):
        # The length before each part keeps different parts from giving the same digest.
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest
