"""The calls to S3 and SQS on the wire, whole and broken."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from dispatcher.aws.queue import Queue
from dispatcher.aws.requests import Location, SqsMessage
from dispatcher.aws.transport import open_transport
from dispatcher.config.settings import AwsSettings
from dispatcher.errors import CallError, Denied, NotThere, Rejected, Throttled, Transient

if TYPE_CHECKING:
    from tests.aws.conftest import Answer, Connect, WireServer

AT = Location("bucket", "a/b c+d.out")
TARGET = "/bucket/a/b%20c%2Bd.out"
FRAMING = (
    "content-encoding",
    "x-amz-checksum-crc32",
    "x-amz-content-sha256",
    "x-amz-decoded-content-length",
)


async def test_put(wire: WireServer, connect: Connect) -> None:
    wire.answers = [wire.answer("200 OK")]
    async with connect() as transport:
        await transport.objects.put(AT, b'{"x":1}', "application/json")
    (request,) = wire.requests
    assert (request.method, request.target, request.body) == ("PUT", TARGET, b'{"x":1}')
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-amz-checksum-crc32"] == "O+tZXA=="
    assert request.headers["x-amz-content-sha256"] == hashlib.sha256(request.body).hexdigest()


async def test_an_object_that_does_not_say_its_length(wire: WireServer, connect: Connect) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire.answers = [head + b"3\r\nabc\r\n0\r\n\r\n"]
    async with connect() as transport, transport.objects.open(AT) as incoming:
        assert await incoming.read() == b"abc"


async def test_put_over_tls(tls_wire: WireServer, connect: Connect) -> None:
    """The one call that is framed in two ways: aioboto3 sends the checksum behind the body."""
    tls_wire.answers = [tls_wire.answer("200 OK")]
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
    wire.answers = [wire.answer("200 OK", b"x" * 100_000, Content_Type="text/csv")]
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
    wire: WireServer, connect: Connect, ending: Answer
) -> None:
    wire.answers = [ending]
    async with connect(AwsSettings.model_construct(read_timeout=0.1)) as transport:
        with pytest.raises(Transient):
            async with transport.objects.open(AT) as incoming:
                await incoming.read()
    assert {request.target for request in wire.requests} == {TARGET}
    # aiohttp repeats what reads where a connection ends; for direct there is one policy, ours.
    assert len(wire.requests) == 1 or transport.name == "aioboto3"


async def test_an_object_that_never_comes(wire: WireServer, connect: Connect) -> None:
    wire.answers = ["silence"]
    async with connect(AwsSettings.model_construct(read_timeout=0.1)) as transport:
        with pytest.raises(Transient) as raised:
            await transport.objects.get(AT)
    assert raised.value.code == "NoAnswer"


@pytest.mark.parametrize("stored", ["O+tZXA==", "AAAAAA=="])
async def test_an_object_that_is_not_what_was_stored_is_read_again(
    wire: WireServer, connect: Connect, stored: str
) -> None:
    wire.answers = [wire.answer("200 OK", b'{"x":1}', x_amz_checksum_crc32=stored)]
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
    wire.answers = [wire.answer(status, refusal(code), Content_Type="application/xml")]
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
    refused = wire.answer("403 Forbidden", refusal("AccessDenied"))
    wire.answers = [wire.answer("403 Forbidden"), refused, wire.answer("200 OK", b"x")]
    wire.answers += [wire.answer("403 Forbidden"), wire.answer("200 OK")]
    wire.answers += [refused, wire.answer("200 OK"), refused, wire.answer("403 Forbidden")]
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
    wire.answers = [wire.answer(status)]
    async with connect() as transport:
        assert await transport.objects.exists(AT) is there
    assert (wire.requests[0].method, wire.requests[0].target) == ("HEAD", TARGET)


async def test_a_look_that_fails_is_no_answer(wire: WireServer, connect: Connect) -> None:
    wire.answers = [wire.answer("503 Service Unavailable")]
    async with connect() as transport:
        with pytest.raises(Transient):
            await transport.objects.exists(AT)


async def test_a_page(wire: WireServer, connect: Connect) -> None:
    listing = b"""<ListBucketResult><EncodingType>url</EncodingType>
<Contents><Key>a/x+y%2B.out</Key></Contents><Contents><Key>a/z.out</Key></Contents>
</ListBucketResult>"""
    wire.answers = [
        wire.answer("200 OK", listing),
        wire.answer("200 OK", b"<ListBucketResult></ListBucketResult>"),
    ]
    async with connect() as transport:
        objects = transport.objects
        assert await objects.page(Location("bucket", "a/")) == {"a/x y+.out", "a/z.out"}
        assert await objects.page(Location("bucket", "b/")) == set()
    method, target = wire.requests[0].method, wire.requests[0].target
    assert (method, target.partition("?")[0]) == ("GET", "/bucket")
    assert "prefix=a%2F" in target


async def test_delete(wire: WireServer, connect: Connect) -> None:
    wire.answers = [wire.answer("204 No Content").replace(b"Content-Length: 0\r\n", b"")]
    async with connect(connections=1) as transport:
        await transport.objects.delete(AT)
        await transport.objects.delete(AT)
    assert [(r.method, r.target, r.body) for r in wire.requests] == 2 * [("DELETE", TARGET, b"")]


@pytest.mark.parametrize("body", [b"<ListBucketResult><Contents>", b"no xml"])
async def test_a_page_that_cannot_be_read_is_asked_for_again(
    wire: WireServer, connect: Connect, body: bytes
) -> None:
    wire.answers = [wire.answer("200 OK", body)]
    async with connect() as transport:
        with pytest.raises(Transient):
            await transport.objects.page(AT)


async def test_messages_are_received_ten_by_long_poll(wire: WireServer, connect: Connect) -> None:
    messages = [{"MessageId": "m", "ReceiptHandle": "r", "Body": "text"}]
    wire.answers = [
        wire.answer("200 OK", json.dumps({"Messages": messages}).encode()),
        wire.answer("200 OK", b"{}"),
    ]
    async with connect() as transport:
        queue = transport.queue(f"{wire.url}/123456789012/done")
        assert await queue.receive() == [SqsMessage("text", "r", "m")]
        assert await queue.receive() == []
    asked = json.loads(wire.requests[0].body)
    assert asked["QueueUrl"] == f"{wire.url}/123456789012/done"
    assert (asked["MaxNumberOfMessages"], asked["WaitTimeSeconds"]) == (10, 20)


@dataclass(frozen=True)
class Batch:
    """One of the calls that carry several entries.

    Attributes:
        operation: Its name at the service.
        call: Makes it with three entries.
        entries: What is asked for each of them.
    """

    operation: str
    call: Callable[[Queue], Awaitable[dict[int, CallError]]]
    entries: list[dict[str, object]]


BATCHES = {
    "delete": Batch(
        "DeleteMessageBatch",
        lambda queue: queue.delete(["a", "b", "a"]),
        [{"ReceiptHandle": receipt} for receipt in "aba"],
    ),
    "send": Batch(
        "SendMessageBatch",
        lambda queue: queue.send(["é", "\x0b", "é"]),
        [{"MessageBody": body} for body in ("é", "\x0b", "é")],
    ),
    "change-visibility": Batch(
        "ChangeMessageVisibilityBatch",
        lambda queue: queue.change_visibility([("a", 0), ("b", 60), ("c", 43_200)]),
        [
            {"ReceiptHandle": receipt, "VisibilityTimeout": seconds}
            for receipt, seconds in (("a", 0), ("b", 60), ("c", 43_200))
        ],
    ),
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
async def test_entries_that_failed_come_back(
    wire: WireServer, connect: Connect, batch: Batch
) -> None:
    failed = {"Id": "1", "SenderFault": True, "Code": "ReceiptHandleIsInvalid"}
    done = {"Successful": [{"Id": "0"}, {"Id": "2"}]}
    wire.answers = [
        wire.answer("200 OK", json.dumps(done | {"Failed": [failed]}).encode()),
        wire.answer("200 OK", json.dumps(done).encode()),
        wire.answer("200 OK", json.dumps(done | {"Failed": []}).encode()),
    ]
    async with connect() as transport:
        queue = transport.queue(f"{wire.url}/123456789012/done")
        failures = await batch.call(queue)
        assert {n: (type(error), error.code) for n, error in failures.items()} == {
            1: (Rejected, "ReceiptHandleIsInvalid")
        }
        assert await batch.call(queue) == {}
        assert await batch.call(queue) == {}
    request = wire.requests[0]
    assert request.headers["x-amz-target"] == f"AmazonSQS.{batch.operation}"
    asked = json.loads(request.body)
    assert asked["QueueUrl"] == f"{wire.url}/123456789012/done"
    assert len({entry.pop("Id") for entry in asked["Entries"]}) == 3
    assert asked["Entries"] == batch.entries


SQS_CALLS: dict[str, Callable[[Queue], Awaitable[object]]] = {
    "receive": lambda queue: queue.receive(),
    **{name: batch.call for name, batch in BATCHES.items()},
}
each_call_of_sqs = pytest.mark.parametrize("call", SQS_CALLS.values(), ids=SQS_CALLS)


@each_call_of_sqs
@pytest.mark.parametrize(
    "refused",
    [
        ("400 Bad Request", "com.amazonaws.sqs#QueueDoesNotExist", Denied),
        ("403 Forbidden", "com.amazonaws.sqs#AccessDeniedException", Denied),
        ("400 Bad Request", "com.amazonaws.sqs#RequestThrottled", Throttled),
        ("400 Bad Request", "com.amazonaws.sqs#ReceiptHandleIsInvalid", Rejected),
        ("500 Internal Server Error", "com.amazonaws.sqs#InternalFailure", Transient),
    ],
)
async def test_refusals_of_sqs(
    wire: WireServer,
    connect: Connect,
    call: Callable[[Queue], Awaitable[object]],
    refused: tuple[str, str, type[Exception]],
) -> None:
    status, kind, error = refused
    body = json.dumps({"__type": kind, "message": "no"}).encode()
    wire.answers = [wire.answer(status, body)]
    async with connect() as transport:
        with pytest.raises(error):
            await call(transport.queue(f"{wire.url}/123456789012/done"))
    assert len(wire.requests) == 1, "no hidden retries"


@each_call_of_sqs
@pytest.mark.parametrize(
    "ending",
    [
        "close",
        "reset",
        "silence",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        b"no HTTP\r\n\r\n",
    ],
    ids=["closed", "reset", "silent", "half", "junk"],
)
async def test_calls_of_sqs_without_a_whole_answer_may_be_repeated(
    wire: WireServer,
    connect: Connect,
    call: Callable[[Queue], Awaitable[object]],
    ending: Answer,
) -> None:
    wire.answers = [ending]
    async with connect(AwsSettings.model_construct(read_timeout=0.1)) as transport:
        with pytest.raises(Transient) as raised:
            await call(transport.queue(f"{wire.url}/123456789012/done"))
    assert (type(raised.value), raised.value.code) == (Transient, "NoAnswer")
    assert len(wire.requests) == 1, "no hidden retries"


@each_call_of_sqs
@pytest.mark.parametrize("body", [b"no JSON", b"[]"])
async def test_an_answer_of_sqs_that_cannot_be_read_is_none(
    wire: WireServer, call: Callable[[Queue], Awaitable[object]], body: bytes
) -> None:
    """Through aioboto3 what is no JSON would be taken for a success of every entry."""
    wire.answers = [wire.answer("200 OK", body)]
    async with open_transport(AwsSettings(), connections=1) as transport:
        with pytest.raises(Transient) as raised:
            await call(transport.queue(f"{wire.url}/123456789012/done"))
    assert raised.value.code == "NoAnswer"
