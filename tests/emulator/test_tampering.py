"""Each byte of a signed request, with one bit flipped, on a real socket."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dispatcher.emulator.server import Emulator
from tests.emulator.signing import Signed, sign

USER_AGENT = {"User-Agent": "me"}
ROUNDS = 12
"""Maximum turns of the loop for a response over loopback, with some to spare."""


@pytest.fixture
def quick(quick: Any) -> Any:
    return quick.model_copy(update={"verify_signatures": True})


def uncovered(raw: bytes) -> set[int]:
    """Return the positions of what no signature covers.

    These are the minor digit of the HTTP version, as any proxy may change it, and a header that is
    not signed: its name and its value, but not the line break that ends it.
    """
    minor = raw.index(b"HTTP/1.1") + len("HTTP/1.")
    line = raw.index(b"User-Agent: me\r\n")
    return {minor, *range(line, line + len("User-Agent: me"))}


async def statuses(url: str, raw: bytes) -> list[int]:
    """Send bytes and then no more; return the status of each answer until the end."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(raw)
        # What is accepted must be answered before the end of the bytes can cut the answer off.
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
        writer.write_eof()
        answer = await reader.read()
    except ConnectionError:
        return []
    finally:
        writer.transport.abort()
    return [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d{3}) ", answer, re.MULTILINE)]


async def accepted(url: str, raw: bytes) -> list[int]:
    """Return the positions whose flipped bit the server did not mind."""
    positions = []
    for at in range(len(raw)):
        flipped = bytearray(raw)
        flipped[at] ^= 1
        if any(200 <= status < 300 for status in await statuses(url, bytes(flipped))):
            positions.append(at)
    return positions


Prove = Callable[[Emulator, Signed], Awaitable[int]]


@pytest.fixture
def prove() -> Prove:
    """Return a function that sends a request whole and tampered with, and counts acceptances."""

    async def prove(emulator: Emulator, signed: Signed) -> int:
        raw = signed.raw()
        (status,) = await statuses(emulator.url, raw)
        assert 200 <= status < 300
        positions = await accepted(emulator.url, raw)
        assert set(positions) <= uncovered(raw), [raw[: at + 1][-40:] for at in positions]
        return 1 + len(positions)

    return prove


async def test_tampered_invocation_is_never_accepted(emulator: Emulator, prove: Prove) -> None:
    signed = sign(
        "sagemaker",
        "POST",
        "/endpoints/emulated/async-invocations",
        {
            "X-Amzn-SageMaker-Content-Type": "application/json",
            "X-Amzn-SageMaker-Inference-Id": "mine-1",
            "X-Amzn-SageMaker-Filename": "mine.out",
        },
        b'{"text": "one two"}',
        token="token",
        unsigned=USER_AGENT,
    )
    count = await prove(emulator, signed)
    await emulator.idle()
    assert emulator.endpoint("emulated").accepted == count
    assert set(emulator.objects("emulator-output")) == {"emulated/output/mine.out"}


async def test_tampered_upload_is_never_accepted(emulator: Emulator, prove: Prove) -> None:
    signed = sign(
        "s3",
        "PUT",
        "/emulator-input/a%20b%2B/c?x-id=PutObject",
        {"Content-Type": "text/plain", "x-amz-meta-who": "me"},
        b"the body",
        unsigned=USER_AGENT,
    )
    await prove(emulator, signed)
    assert dict(emulator.objects("emulator-input")) == {"a b+/c": b"the body"}


async def test_tampered_receive_is_never_accepted(emulator: Emulator, prove: Prove) -> None:
    queue = emulator._queues.create("many")
    for n in range(100):
        queue.send(str(n))
    signed = sign(
        "sqs",
        "POST",
        "/",
        {"X-Amz-Target": "AmazonSQS.ReceiveMessage", "Content-Type": "application/x-amz-json-1.0"},
        b'{"QueueUrl": "%s/0/many"}' % emulator.url.encode(),
        unsigned=USER_AGENT,
    )
    count = await prove(emulator, signed)
    assert queue.messages.counts(time.time())[1] == count


async def test_the_proof_can_fail(quick: Any) -> None:
    body = b'{"QueueName": "completions"}'
    signed = sign("sqs", "POST", "/", {"X-Amz-Target": "AmazonSQS.GetQueueUrl"}, body)
    raw = signed.raw()
    async with Emulator(quick.model_copy(update={"verify_signatures": False})) as trusting:
        positions = await accepted(trusting.url, raw)
    signature = raw.index(b"Signature=") + len("Signature=")
    digits = [at for at in range(signature, signature + 64) if raw[at : at + 1] not in b"9af"]
    assert {raw.index(b"localhost"), *digits} <= set(positions)
