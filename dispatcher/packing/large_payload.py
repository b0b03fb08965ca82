"""The payload of a large record piece by piece, so that it need not be held in memory.

What travels as it was read is framed, and compressed, on its way. An encoding that has to know the
value (MessagePack, or a ``select``) parses it, and so needs all of the record in memory, and of its
payload besides.
"""

import hashlib
import zlib
from collections.abc import Iterator

import zstandard

from dispatcher.config.packing import Encoding
from dispatcher.flow.content import FileSlice
from dispatcher.packing.codec import Codec, compression_of
from dispatcher.packing.framing import Frame

_GZIP_LEVEL, _ZSTD_LEVEL = 6, 3
"""As of smaller payloads."""

_GZIP_WINDOW = 31
"""To zlib: its largest window, and the header and trailer of gzip around."""


def is_streamed(codec: Codec, encoding: Encoding) -> bool:
    """Return whether a large record is sent without ever being in memory as a whole."""
    return codec.splices(encoding)


def pieces(blob: FileSlice, codec: Codec, encoding: Encoding) -> Iterator[bytes]:
    """Yield the payload of one large record; blocks on the disk and on the processor.

    Args:
        blob: The record as it was read.
        codec: Frames and encodes.
        encoding: How.

    Raises:
        ChangedError: The blob is not what it was.
        NotEncodableError: The encoding cannot carry the record.
    """
    if not is_streamed(codec, encoding):
        yield codec.payload([blob.read()], encoding)
        return
    match compression_of(encoding):
        case None:
            yield from _framed(blob, codec)
        case "gzip":
            gzip = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WINDOW)
            for piece in _framed(blob, codec):
                yield gzip.compress(piece)
            yield gzip.flush()
        case "zstd":
            # With the size the frame's header tells it, as after compressing all at once.
            size = codec.frame.size(blob.size, 1)
            zstd = zstandard.ZstdCompressor(_ZSTD_LEVEL).compressobj(size=size)
            for piece in _framed(blob, codec):
                yield zstd.compress(piece)
            yield zstd.flush()


def _framed(blob: FileSlice, codec: Codec) -> Iterator[bytes]:
    yield codec.frame.before
    yield from blob.chunks()
    yield codec.frame.after


def exact_size(sizes: int, count: int, codec: Codec, encoding: Encoding) -> int | None:
    """Return the bytes of a payload where they follow from its records' sizes, else None.

    Args:
        sizes: Bytes of all its records together, as they were read.
        count: How many records that are.
        codec: Frames and encodes.
        encoding: How.
    """
    if not codec.splices(encoding) or compression_of(encoding) is not None:
        return None
    return codec.frame.size(sizes, count)


def digest_of_payload(payload: bytes, encoding: Encoding, content_type: str) -> str:
    """Return what names the content of a payload, in hexadecimal digits."""
    digest = _begun(encoding, content_type)
    digest.update(payload)
    return digest.hexdigest()


def digest_of_blob(
    blob: FileSlice, encoding: Encoding, content_type: str, *, frame: Frame, select: str
) -> str:
    """Return what names the content of a large record's payload; blocks on the disk.

    It is that of what the payload is made of, so that nothing is encoded only to be named.

    Args:
        blob: The record as it was read.
        encoding: How it is encoded.
        content_type: Of the payload.
        frame: What stands around it.
        select: The JMESPath of what is sent of it, or nothing.

    Raises:
        ChangedError: The blob is not what it was.
    """
    digest = _begun(encoding, content_type, frame.join([b"\0"]), select.encode())
    for chunk in blob.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def _begun(encoding: Encoding, content_type: str, *more: bytes) -> "hashlib._Hash":
    digest = hashlib.sha256()
    for part in (encoding.encode(), content_type.encode(), *more):
        # With its length before it, so that no two can be taken for two others.
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest
