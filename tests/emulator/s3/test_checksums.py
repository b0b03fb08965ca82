"""Checksums that come with a body, over HTTP."""

import base64
import hashlib
import zlib
from typing import Any

import pytest

from tests.emulator.s3.examples import error_code


@pytest.mark.parametrize(
    ("header", "right"),
    [
        ("x-amz-checksum-crc32", base64.b64encode(zlib.crc32(b"abc").to_bytes(4, "big"))),
        ("x-amz-checksum-sha1", base64.b64encode(hashlib.sha1(b"abc").digest())),
        ("x-amz-checksum-sha256", base64.b64encode(hashlib.sha256(b"abc").digest())),
        ("content-md5", base64.b64encode(hashlib.md5(b"abc").digest())),
    ],
)
async def test_checksum_is_verified(wire: Any, header: str, right: bytes) -> None:
    wrong = await wire.ask("PUT", "/emulator-input/k", {header: right.decode()}, b"abd")
    assert (wrong.status, error_code(wrong.body)) == (400, "BadDigest")
    assert (await wire.ask("HEAD", "/emulator-input/k")).status == 404
    good = await wire.ask("PUT", "/emulator-input/k", {header: right.decode()}, b"abc")
    assert good.status == 200
    asked = {"x-amz-checksum-mode": "ENABLED"}
    again = await wire.ask("GET", "/emulator-input/k", asked)
    if header.startswith("x-amz-checksum-"):
        assert again.headers[header] == right.decode().lower()


async def test_checksum_in_a_trailer_is_verified(wire: Any) -> None:
    def framed(crc: bytes) -> bytes:
        value = base64.b64encode(crc)
        return b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:" + value + b"\r\n\r\n"

    headers = {
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-trailer": "x-amz-checksum-crc32",
    }
    wrong = await wire.ask("PUT", "/emulator-input/k", headers, framed(b"\0\0\0\0"))
    assert error_code(wrong.body) == "BadDigest"
    crc = zlib.crc32(b"abc").to_bytes(4, "big")
    assert (await wire.ask("PUT", "/emulator-input/k", headers, framed(crc))).status == 200
    assert (await wire.ask("GET", "/emulator-input/k")).body == b"abc"
