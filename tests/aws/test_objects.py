"""Object calls on the wire, by both transports: whole and broken responses."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from dispatcher.aws.requests import Location
from dispatcher.config.settings import AwsSettings
from dispatcher.errors import Denied, NotThere, Rejected, Throttled, Transient

if TYPE_CHECKING:
    from tests.aws.conftest import Connect, ScriptedResponse, WireServer

AT = Location("bucket", "a/b c+d.out")
TARGET = "/bucket/a/b%20c%2Bd.out"
FRAMING = (
    "content-encoding",
    "x-amz-checksum-crc32",
    "x-amz-content-sha256",
    "x-amz-decoded-content-length",
)


async def test_put(wire: WireServer, connect: Connect) -> None:
    wire.responses = [wire.response("200 OK")]
    async with connect() as transport:
        await transport.objects.put(AT, b'{"x":1}', "application/json")
    (request,) = wire.requests
    assert (request.method, request.target, request.body) == ("PUT", TARGET, b'{"x":1}')
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-amz-checksum-crc32"] == "O+tZXA=="
    assert request.headers["x-amz-content-sha256"] == hashlib.sha256(request.body).hexdigest()


async def test_an_object_that_does_not_say_its_length(wire: WireServer, connect: Connect) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire.responses = [head + b"3\r\nabc\r\n0\r\n\r\n"]
    async with connect() as transport, transport.objects.open(AT) as incoming:
        assert await incoming.read() == b"abc"


async def test_put_over_tls(tls_wire: WireServer, connect: Connect) -> None:
    """The one call that is framed in two ways: aioboto3 sends the checksum behind the body."""
    tls_wire.responses = [tls_wire.response("200 OK")]
    body = b'{"x":1}'
    async with connect() as transport:
        await transport.objects.put(AT, body, "application/json")
    (request,) = tls_wire.requests
    assert (request.method, request.target) == ("PUT", TARGET)
    assert request.headers["content-type"] == "application/json"
    sent = {name: request.headers.get(name) for name in FRAMING}
    if transport.name == "direct":
        assert request.body == body
        assert sent == dict.fromkeys(FRAMING) | {
            "x-amz-checksum-crc32": "O+tZXA==",
            "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
        }
    else:
        assert request.body == b'7\r\n{"x":1}\r\n0\r\nx-amz-checksum-crc32:O+tZXA==\r\n\r\n'
        assert sent == dict.fromkeys(FRAMING) | {
            "content-encoding": "aws-chunked",
            "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "x-amz-decoded-content-length": "7",
        }


async def test_read(wire: WireServer, connect: Connect) -> None:
    wire.responses = [wire.response("200 OK", b"x" * 100_000, Content_Type="text/csv")]
    async with connect() as transport, transport.objects.open(AT) as incoming:
        assert (incoming.size, incoming.content_type) == (100_000, "text/csv")
        assert await incoming.read() == b"x" * 100_000
    assert (wire.requests[0].method, wire.requests[0].target) == ("GET", TARGET)


@pytest.mark.parametrize(
    "ending",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        "close",
        "reset",
    ],
    ids=["half", "closed", "reset"],
)
async def test_half_an_object_is_read_again(
    wire: WireServer, connect: Connect, ending: ScriptedResponse
) -> None:
    wire.responses = [ending]
    async with connect(AwsSettings.model_construct(read_timeout=0.1)) as transport:
        with pytest.raises(Transient):
            async with transport.objects.open(AT) as incoming:
                await incoming.read()
    assert {request.target for request in wire.requests} == {TARGET}
    # aiohttp repeats what reads where a connection ends; for direct there is one policy, ours.
    assert len(wire.requests) == 1 or transport.name == "aioboto3"


async def test_an_object_that_never_comes(wire: WireServer, connect: Connect) -> None:
    wire.responses = ["silence"]
    async with connect(AwsSettings.model_construct(read_timeout=0.1)) as transport:
        with pytest.raises(Transient) as raised:
            await transport.objects.get(AT)
    assert raised.value.code == "NoAnswer"


@pytest.mark.parametrize("stored", ["O+tZXA==", "AAAAAA=="])
async def test_an_object_that_is_not_what_was_stored_is_read_again(
    wire: WireServer, connect: Connect, stored: str
) -> None:
    wire.responses = [wire.response("200 OK", b'{"x":1}', x_amz_checksum_crc32=stored)]
    async with connect() as transport, transport.objects.open(AT) as incoming:
        if stored == "O+tZXA==":
            assert await incoming.read() == b'{"x":1}'
        else:
            with pytest.raises(Transient) as raised:
                await incoming.read()
            assert type(raised.value) is Transient
            assert raised.value.code == "BadDigest"
    assert wire.requests[0].headers["x-amz-checksum-mode"] == "ENABLED"


def refusal(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        ("404 Not Found", "NoSuchKey", NotThere),
        ("404 Not Found", "NoSuchBucket", Denied),
        ("403 Forbidden", "AccessDenied", Denied),
        ("403 Forbidden", "RequestTimeTooSkewed", Transient),
        ("503 Slow Down", "SlowDown", Throttled),
        ("500 Internal Server Error", "InternalError", Transient),
        ("400 Bad Request", "RequestTimeout", Transient),
        ("403 Forbidden", "InvalidObjectState", Denied),
        ("400 Bad Request", "EntityTooLarge", Rejected),
    ],
)
async def test_refusals_of_s3(
    wire: WireServer, connect: Connect, status: str, code: str, error: type[Exception]
) -> None:
    wire.responses = [wire.response(status, refusal(code), Content_Type="application/xml")]
    async with connect() as transport:
        with pytest.raises(error):
            async with transport.objects.open(AT):
                pass
        with pytest.raises(Denied if error is NotThere else error):
            await transport.objects.put(AT, b"x", "text/plain")
        with pytest.raises(Denied if error is NotThere else error):
            await transport.objects.delete(AT)
        with pytest.raises(Denied if error is NotThere else error):
            await transport.objects.page(AT)
    assert len(wire.requests) == 4, "no hidden retries"


async def test_what_403_means_is_known_once_the_bucket_could_be_read(
    wire: WireServer, connect: Connect
) -> None:
    refused = wire.response("403 Forbidden", refusal("AccessDenied"))
    wire.responses = [wire.response("403 Forbidden"), refused, wire.response("200 OK", b"x")]
    wire.responses += [wire.response("403 Forbidden"), wire.response("200 OK")]
    wire.responses += [refused, wire.response("200 OK"), refused, wire.response("403 Forbidden")]
    async with connect() as transport:
        objects = transport.objects
        other = Location(AT.bucket, "other.out")
        assert await objects.exists(AT) is None
        with pytest.raises(Denied):
            async with objects.open(AT):
                pass
        async with objects.open(AT) as incoming:
            await incoming.read()
        assert await objects.exists(other) is False
        with pytest.raises(NotThere):
            async with objects.open(other):
                pass
        with pytest.raises(Denied):  # what was there before cannot be seen any more either
            async with objects.open(other):
                pass


@pytest.mark.parametrize(
    ("status", "there"), [("200 OK", True), ("404 Not Found", False), ("403 Forbidden", None)]
)
async def test_a_look(wire: WireServer, connect: Connect, status: str, there: bool | None) -> None:
    wire.responses = [wire.response(status)]
    async with connect() as transport:
        assert await transport.objects.exists(AT) is there
    assert (wire.requests[0].method, wire.requests[0].target) == ("HEAD", TARGET)


async def test_a_look_that_fails_is_no_answer(wire: WireServer, connect: Connect) -> None:
    wire.responses = [wire.response("503 Service Unavailable")]
    async with connect() as transport:
        with pytest.raises(Transient):
            await transport.objects.exists(AT)


async def test_a_page(wire: WireServer, connect: Connect) -> None:
    listing = b"""<ListBucketResult><EncodingType>url</EncodingType>
<Contents><Key>a/x+y%2B.out</Key></Contents><Contents><Key>a/z.out</Key></Contents>
</ListBucketResult>"""
    wire.responses = [
        wire.response("200 OK", listing),
        wire.response("200 OK", b"<ListBucketResult></ListBucketResult>"),
    ]
    async with connect() as transport:
        objects = transport.objects
        assert await objects.page(Location("bucket", "a/")) == {"a/x y+.out", "a/z.out"}
        assert await objects.page(Location("bucket", "b/")) == set()
    method, target = wire.requests[0].method, wire.requests[0].target
    assert (method, target.partition("?")[0]) == ("GET", "/bucket")
    assert "prefix=a%2F" in target


async def test_delete(wire: WireServer, connect: Connect) -> None:
    wire.responses = [wire.response("204 No Content").replace(b"Content-Length: 0\r\n", b"")]
    async with connect(connections=1) as transport:
        await transport.objects.delete(AT)
        await transport.objects.delete(AT)
    assert [(r.method, r.target, r.body) for r in wire.requests] == 2 * [("DELETE", TARGET, b"")]


@pytest.mark.parametrize("body", [b"<ListBucketResult><Contents>", b"no xml"])
async def test_a_page_that_cannot_be_read_is_asked_for_again(
    wire: WireServer, connect: Connect, body: bytes
) -> None:
    wire.responses = [wire.response("200 OK", body)]
    async with connect() as transport:
        with pytest.raises(Transient):
            await transport.objects.page(AT)
