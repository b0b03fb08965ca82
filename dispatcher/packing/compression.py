"""Compressed payloads."""

import gzip
from typing import Literal, TypeAlias

import zstandard

Compression: TypeAlias = Literal["gzip", "zstd"]

_GZIP_LEVEL = 6
_ZSTD_LEVEL = 3


def compress(data: bytes, compression: Compression) -> bytes:
    """Return compressed bytes; the same for the same input."""
    if compression == "gzip":
        return gzip.compress(data, _GZIP_LEVEL, mtime=0)
    return zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(data)
