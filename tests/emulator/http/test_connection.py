"""One HTTP connection, byte by byte."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dispatcher.emulator.http.connection import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    MAX_PIPELINED_REQUESTS,
    ServerConnection,
)
from dispatcher.emulator.server import Emulator


async def test_connection_is_kept_alive(wire: Any) -> None:
    for n in range(3):
        body = f"body {n}".encode()
        assert (await wire.ask("PUT", "/emulator-input/k", body=body)).status == 200
        assert (await wire.ask("GET", "/emulator-input/k")).body == body


async def test_pipelined_requests_are_answered_in_order(wire: Any) -> None:
    count = MAX_PIPELINED_REQUESTS * 4
    for n in range(count):
        wire.send("PUT", f"/emulator-input/{n}", body=str(n).encode() * 10)
        wire.send("GET", f"/emulator-input/{n}")
    for n in range(count):
        assert (await wire.reply()).status == 200
        assert (await wire.reply()).body == str(n).encode() * 10


async def test_request_may_come_byte_by_byte(wire: Any, emulator: Emulator) -> None:
    wire.send("PUT", "/emulator-input/warm", body=b"x")
    await wire.reply()
    sent: list[bytes] = []
    write = wire.writer.write
    wire.writer.write = sent.append
    wire.send("PUT", "/emulator-input/slow", body=b"slow body")
    for byte in sent[0]:
        write(bytes([byte]))
        await wire.writer.drain()
        await asyncio.sleep(0)
    assert (await wire.reply()).status == 200
    assert emulator.objects("emulator-input")["slow"] == b"slow body"


async def test_expect_continue_is_answered_before_the_body(wire: Any) -> None:
    headers = {"Expect": "100-continue", "Content-Length": "4"}
    wire.send("PUT", "/emulator-input/k", headers)
    assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.writer.write(b"body")
    assert (await wire.reply()).status == 200
    assert (await wire.ask("GET", "/emulator-input/k")).body == b"body"


async def test_expect_continue_waits_for_the_answer_before_it(wire: Any) -> None:
    wire.send("PUT", "/emulator-input/first", body=b"1")
    wire.send("PUT", "/emulator-input/k", {"Expect": "100-continue", "Content-Length": "4"})
    assert (await wire.reply()).status == 200
    assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.writer.write(b"body")
    assert (await wire.reply()).status == 200


async def test_chunked_body_is_put_together(wire: Any) -> None:
    wire.writer.write(
        b"PUT /emulator-input/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        b"Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, "
        b"SignedHeaders=host, Signature=" + b"0" * 64 + b"\r\n\r\n"
        b"3\r\nabc\r\n4\r\ndefg\r\n0\r\nx-trailer: ignored\r\n\r\n"
    )
    assert (await wire.reply()).status == 200
    assert (await wire.ask("GET", "/emulator-input/k")).body == b"abcdefg"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nbroken\r\n\r\n", 400),
        (b"PUT /b/k HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), 413),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * (3 * MAX_HEAD_BYTES), 431),
    ],
    ids=["no-http", "broken-header", "body-too-large", "head-too-large"],
)
async def test_bad_request_ends_the_connection_only(
    wire: Any,
    emulator: Emulator,
    connect: Callable[[str], Awaitable[Any]],
    request_bytes: bytes,
    status: int,
) -> None:
    for at in range(0, len(request_bytes), MAX_HEAD_BYTES):
        wire.writer.write(request_bytes[at : at + MAX_HEAD_BYTES])
        await asyncio.sleep(0)
    reply = await wire.reply()
    assert reply.status == status
    assert reply.headers["connection"] == "close"
    other = await connect(emulator.url)
    assert (await other.ask("HEAD", "/emulator-input")).status == 200


async def test_connection_close_is_honoured(wire: Any) -> None:
    reply = await wire.ask("GET", "/emulator-input/none", {"Connection": "close"})
    assert reply.headers["connection"] == "close"
    assert await wire.reader.read() == b""


async def test_large_answer_waits_for_a_slow_reader(
    emulator: Emulator, connect: Callable[[str], Awaitable[Any]]
) -> None:
    wire = await connect(emulator.url)
    content = bytes(range(256)) * 80_000
    assert (await wire.ask("PUT", "/emulator-input/k", body=content)).status == 200
    wire.reader._limit = 1024
    wire.send("GET", "/emulator-input/k")
    await wire.reader.readuntil(b"\r\n\r\n")
    for _ in range(50):
        await asyncio.sleep(0)
    (connection,) = emulator_connections(emulator)
    assert connection._transport.get_write_buffer_size() < 2_000_000
    assert await wire.reader.readexactly(len(content)) == content


def emulator_connections(emulator: Emulator) -> set[Any]:
    return {o for o in gc.get_objects() if isinstance(o, ServerConnection) and not o._closing}


async def test_head_has_the_size_and_no_body(wire: Any) -> None:
    await wire.ask("PUT", "/emulator-input/k", body=b"x" * 1000)
    wire.send("HEAD", "/emulator-input/k")
    wire.send("GET", "/emulator-input/k")
    head = await wire.reply(head_only=True)
    assert head.headers["content-length"] == "1000"
    assert (await wire.reply()).body == b"x" * 1000


async def test_header_values_lose_blanks_and_tabs_only(wire: Any) -> None:
    headers = {"x-amz-meta-who": " \t\xa0me\x85\t "}
    assert (await wire.ask("PUT", "/emulator-input/k", headers, b"x")).status == 200
    wire.send("HEAD", "/emulator-input/k")
    head = await wire.reader.readuntil(b"\r\n\r\n")
    assert b"x-amz-meta-who: \xa0me\x85\r\n" in head


@pytest.mark.parametrize("trailer", [b"x: %s\r\n" % (b"a" * 1000), b"a" * 1000])
async def test_endless_trailers_end_the_connection(wire: Any, trailer: bytes) -> None:
    wire.writer.write(
        b"PUT /emulator-input/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1\r\na\r\n0\r\n"
    )
    if not trailer.endswith(b"\n"):
        wire.writer.write(b"x: ")
    reply = asyncio.create_task(wire.reply())
    for _ in range(10 * MAX_HEAD_BYTES // 1000):
        if reply.done():
            break
        wire.writer.write(trailer)
        await asyncio.sleep(0)
    assert (await reply).status == 431
