"""What the ledger keeps of the records of a payload: their raw bytes, one a line.

The payload is made of them anew when it is needed again: original bytes cannot be told from a
compressed or reshaped payload, and a part of the records is then a part of these bytes.
"""

import zlib
from collections.abc import Sequence

from dispatcher.flow.content import FileSlice

_BRACKETS = 2
"""Ledgers of schema 2 and before keep the payload itself, which may have brackets around."""


def keep(raws: Sequence[bytes]) -> bytes:
    """Return the records of a payload as the ledger keeps them."""
    return raws[0] if len(raws) == 1 else b"\n".join(raws)


def kept_before(found: Sequence[bytes | FileSlice], size: int) -> bytes | FileSlice:
    """Return what was kept of records that are found again; a large one is alone.

    Args:
        found: The records, in order.
        size: Bytes that were kept of them.
    """
    first = found[0]
    if isinstance(first, FileSlice):
        return first
    raws = [raw for raw in found if isinstance(raw, bytes)]
    kept = keep(raws)
    if size == len(kept) + _BRACKETS:
        return b"[" + b",".join(raws) + b"]"
    return kept


def crc32_of(kept: bytes | FileSlice) -> int:
    """Return the CRC-32 of what is kept."""
    crc = 0
    for chunk in kept.chunks() if isinstance(kept, FileSlice) else (kept,):
        crc = zlib.crc32(chunk, crc)
    return crc


def spans(length: int, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Return where each record begins and ends in what is kept.

    Args:
        length: Bytes of what is kept.
        sizes: Bytes of each record, in order.

    Raises:
        ValueError: It does not consist of records of these sizes.
    """
    total = sum(sizes) + len(sizes) - 1
    if (length - total) not in (0, _BRACKETS):
        raise ValueError(
            f"{length} bytes do not hold {len(sizes)} records of {sum(sizes)} bytes together"
        )
    start = (length - total) // 2
    found = []
    for size in sizes:
        found.append((start, start + size))
        start += size + 1
    return found


def cut(kept: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Return the records of what ``keep`` returned, see ``spans``."""
    if len(sizes) == 1 and len(kept) == sizes[0]:
        return [kept]
    return [kept[start:end] for start, end in spans(len(kept), sizes)]
