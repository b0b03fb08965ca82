"""The byte format of spooled records: the raw bytes of a payload's records, one a line.

The payload is encoded again from them when it is needed again. The original bytes cannot be had
from a compressed or reshaped payload, and some of the records are a slice of these bytes.
"""

import zlib
from collections.abc import Sequence

from dispatcher.flow.content import FileSlice

_BRACKETS = 2
"""Bytes of brackets: ledgers of schema 2 and before spool the payload, which may have them."""


def join_records(raws: Sequence[bytes]) -> bytes:
    """Return the records of a payload in the spool's format."""
    return raws[0] if len(raws) == 1 else b"\n".join(raws)


def spooled_before(contents: Sequence[bytes | FileSlice], size: int) -> bytes | FileSlice:
    """Return the bytes that were spooled for records that were read again.

    Args:
        contents: The records as read, in order; a large one is the only one.
        size: Bytes that were spooled for them.
    """
    first = contents[0]
    if isinstance(first, FileSlice):
        return first
    raws = [raw for raw in contents if isinstance(raw, bytes)]
    spooled = join_records(raws)
    if size == len(spooled) + _BRACKETS:
        return b"[" + b",".join(raws) + b"]"
    return spooled


def crc32_of(spooled: bytes | FileSlice) -> int:
    """Return the CRC-32 of spooled bytes."""
    crc = 0
    for chunk in spooled.chunks() if isinstance(spooled, FileSlice) else (spooled,):
        crc = zlib.crc32(chunk, crc)
    return crc


def spans(length: int, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Return begin and end of each record in spooled bytes.

    Args:
        length: Number of spooled bytes.
        sizes: Bytes of each record, in order.

    Raises:
        ValueError: Records of these sizes do not have this length together.
    """
    total = sum(sizes) + len(sizes) - 1
    if (length - total) not in (0, _BRACKETS):
        raise ValueError(
            f"{length} bytes do not hold {len(sizes)} records of {sum(sizes)} bytes together"
        )
    start = (length - total) // 2
    contents = []
    for size in sizes:
        contents.append((start, start + size))
        start += size + 1
    return contents


def cut_records(spooled: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Return the records that ``join_records`` joined; raises as ``spans`` does."""
    if len(sizes) == 1 and len(spooled) == sizes[0]:
        return [spooled]
    return [spooled[start:end] for start, end in spans(len(spooled), sizes)]
