"""Digests of objects: the ETag, and the checksums that clients send."""

import asyncio
import base64
import hashlib
import zlib
from typing import Final

from dispatcher.emulator.http.blob import SPOOL_BYTES, Blob
from dispatcher.emulator.http.message import Refusal

PREFIX: Final = "x-amz-checksum-"

_GIVEN: Final = tuple(PREFIX + name for name in ("crc32", "crc32c", "crc64nvme", "sha1", "sha256"))
_HASHES: Final = {PREFIX + "sha1": "sha1", PREFIX + "sha256": "sha256"}


def given_checksum(headers: dict[str, str]) -> tuple[str, str] | None:
    """Return header name and value of the checksum that came with a body, or None."""
    for name in _GIVEN:
        if name in headers:
            return name, headers[name]
    return None


def digest_of(name: str, data: bytes) -> str | None:
    """Return a checksum of the kind that a header names; None for a kind that is not computed."""
    if name == PREFIX + "crc32":
        return _base64(zlib.crc32(data).to_bytes(4, "big"))
    if (kind := _HASHES.get(name)) is not None:
        return _base64(hashlib.new(kind, data, usedforsecurity=False).digest())
    return None


async def check_body(blob: Blob, headers: dict[str, str]) -> str:
    """Check a body against the digests in its headers and return its MD5 in hexadecimal.

    CRC32, SHA-1, SHA-256 and MD5 are checked. CRC32C and CRC-64/NVME are stored unchecked: Python
    has no fast implementation of them. Large bodies are read in a thread.

    Raises:
        Refusal: BadDigest; the body differs from what was sent.
    """
    if blob.path is None and blob.size <= SPOOL_BYTES:
        return _check(blob, headers)
    return await asyncio.to_thread(_check, blob, headers)


def _check(blob: Blob, headers: dict[str, str]) -> str:
    md5 = hashlib.md5(usedforsecurity=False)
    given = given_checksum(headers)
    other = hashlib.new(_HASHES[given[0]]) if given and given[0] in _HASHES else None
    crc = 0
    with_crc = given is not None and given[0] == PREFIX + "crc32"
    for block in blob.blocks():
        md5.update(block)
        if with_crc:
            crc = zlib.crc32(block, crc)
        if other is not None:
            other.update(block)
    sent_md5 = headers.get("content-md5")
    if sent_md5 is not None and sent_md5 != _base64(md5.digest()):
        raise Refusal(
            400, "BadDigest", "The Content-MD5 you specified did not match what we received."
        )
    if given is not None:
        computed = _base64(crc.to_bytes(4, "big")) if with_crc else None
        if other is not None:
            computed = _base64(other.digest())
        if computed is not None and computed != given[1]:
            name = given[0].removeprefix(PREFIX).upper()
            raise Refusal(
                400,
                "BadDigest",
                f"The {name} you specified did not match the calculated checksum.",
            )
    return md5.hexdigest()


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")
