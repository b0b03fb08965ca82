"""Story: requests to an emulator that verifies signatures, on a real socket."""

import base64
import time
import zlib
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest

from tests.emulator.signing import Signed, sign


@pytest.fixture
def quick(quick: Any) -> Any:
    return quick.model_copy(update={"verify_signatures": True})


async def ask(wire: Any, signed: Signed) -> Any:
    wire.writer.write(signed.raw())
    return await wire.reply(head_only=signed.method == "HEAD")


async def test_service_is_asked_whatever_the_signature_says(wire: Any) -> None:
    reply = await ask(wire, sign("s3", "POST", "/", {"X-Amz-Target": "AmazonSQS.ListQueues"}))
    assert reply.status == 403
    assert b"Credential should be scoped to correct service: 'sqs'." in reply.body
    reply = await ask(wire, sign("sqs", "GET", "/emulator-input?list-type=2"))
    assert reply.status == 400
    assert b"<Code>AuthorizationHeaderMalformed</Code>" in reply.body


async def test_denied_key_is_denied_as_ever(wire: Any) -> None:
    reply = await ask(wire, sign("s3", "GET", "/emulator-input/k", key="denied"))
    assert b"<Code>AccessDenied</Code>" in reply.body


async def test_large_body_is_verified_too(wire: Any, emulator: Any) -> None:
    body = b"large" * 300_000
    signed = sign("s3", "PUT", "/emulator-input/large", body=body)
    assert (await ask(wire, signed)).status == 200
    reply = await ask(wire, replace(signed, body=b"LARGE" * 300_000))
    assert reply.status == 400
    assert b"<Code>XAmzContentSHA256Mismatch</Code>" in reply.body
    assert emulator.objects("emulator-input")["large"] == body


async def test_streamed_upload_brings_checksums_and_nothing_else(wire: Any) -> None:
    crc = base64.b64encode(zlib.crc32(b"body").to_bytes(4, "big"))
    signed = sign(
        "s3",
        "PUT",
        "/emulator-input/k",
        {"x-amz-trailer": "x-amz-checksum-crc32", "x-amz-meta-mine": "signed"},
        b"4\r\nbody\r\n0\r\nx-amz-checksum-crc32: " + crc + b"\r\n"
        b"x-amz-meta-mine: trailer\r\nx-amz-meta-more: trailer\r\nif-none-match: *\r\n\r\n",
        payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    )
    reply = await ask(wire, signed)
    assert reply.status == 200, reply.body
    assert reply.headers["x-amz-checksum-crc32"] == crc.decode().lower()
    reply = await ask(wire, sign("s3", "HEAD", "/emulator-input/k"))
    assert reply.headers["x-amz-meta-mine"] == "signed"
    assert "x-amz-meta-more" not in reply.headers


async def test_repeated_headers_are_signed_as_one(wire: Any) -> None:
    signed = sign("s3", "PUT", "/emulator-input/k", {"x-amz-meta-a": "1,2  3"})
    del signed.headers["x-amz-meta-a"]
    signed.headers |= {"X-Amz-Meta-A": "  1", "x-amz-meta-A": "2    3 "}
    assert (await ask(wire, signed)).status == 200
    signed.headers["x-amz-meta-A"] = "3"
    assert (await ask(wire, signed)).status == 403


@pytest.mark.parametrize("status", [200, 400])
async def test_every_answer_has_a_date(wire: Any, status: int) -> None:
    before = int(time.time())
    if status == 200:
        reply = await ask(wire, sign("s3", "GET", "/"))
    else:
        wire.writer.write(b"NONSENSE\r\n\r\n")
        reply = await wire.reply()
    assert reply.status == status
    times = range(before, int(time.time()) + 1)
    assert reply.headers["date"] in {formatdate(t, usegmt=True).lower() for t in times}
