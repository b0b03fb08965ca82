"""The calls to S3 and SQS on the wire, whole and broken."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dispatcher.aws.calls import Location, Message
from dispatcher.aws.objects import Objects
from dispatcher.aws.queue import Queue
from dispatcher.config.settings import AwsSettings
from dispatcher.errors import Denied, NotThere, Rejected, Throttled, Transient

if TYPE_CHECKING:
    from tests.aws.conftest import Answer, Connect, WireServer

AT = Location("bucket", "a/b c+d.out")
TARGET = "/bucket/a/b%20c%2Bd.out"


async def test_put(wire: WireServer, connect: Connect) -> None:
    wire.answers = [wire.answer("200 OK")]
    async with connect() as clients:
        await Objects(clients.s3).put(AT, b'{"x":1}', "application/json")
    (request,) = wire.requests
    assert (request.method, request.target, request.body) == ("PUT", TARGET, b'{"x":1}')
    assert request.headers["content-type"] == "application/json"


async def test_read(wire: WireServer, connect: Connect) -> None:
    wire.answers = [wire.answer("200 OK", b"x" * 100_000, Content_Type="text/csv")]
    async with connect() as clients, Objects(clients.s3).open(AT) as incoming:
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
    async with connect(AwsSettings.model_construct(read_timeout=0.1)) as clients:
        with pytest.raises(Transient):
            async with Objects(clients.s3).open(AT) as incoming:
                await incoming.read()
    assert {request.target for request in wire.requests} == {TARGET}


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
    async with connect() as clients:
        with pytest.raises(error):
            async with Objects(clients.s3).open(AT):
                pass
        with pytest.raises(Denied if error is NotThere else error):
            await Objects(clients.s3).put(AT, b"x", "text/plain")
    assert len(wire.requests) == 2


async def test_what_403_means_is_known_once_the_bucket_could_be_read(
    wire: WireServer, connect: Connect
) -> None:
    refused = wire.answer("403 Forbidden", refusal("AccessDenied"))
    wire.answers = [wire.answer("403 Forbidden"), refused, wire.answer("200 OK", b"x")]
    wire.answers += [wire.answer("403 Forbidden"), wire.answer("200 OK")]
    wire.answers += [refused, wire.answer("200 OK"), refused, wire.answer("403 Forbidden")]
    async with connect() as clients:
        objects = Objects(clients.s3)
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
    async with connect() as clients:
        assert await Objects(clients.s3).exists(AT) is there
    assert (wire.requests[0].method, wire.requests[0].target) == ("HEAD", TARGET)


async def test_a_look_that_fails_is_no_answer(wire: WireServer, connect: Connect) -> None:
    wire.answers = [wire.answer("503 Service Unavailable")]
    async with connect() as clients:
        with pytest.raises(Transient):
            await Objects(clients.s3).exists(AT)


async def test_a_page(wire: WireServer, connect: Connect) -> None:
    listing = b"""<ListBucketResult><EncodingType>url</EncodingType>
<Contents><Key>a/x+y%2B.out</Key></Contents><Contents><Key>a/z.out</Key></Contents>
</ListBucketResult>"""
    wire.answers = [
        wire.answer("200 OK", listing),
        wire.answer("200 OK", b"<ListBucketResult></ListBucketResult>"),
    ]
    async with connect() as clients:
        objects = Objects(clients.s3)
        assert await objects.page(Location("bucket", "a/")) == {"a/x y+.out", "a/z.out"}
        assert await objects.page(Location("bucket", "b/")) == set()
    method, target = wire.requests[0].method, wire.requests[0].target
    assert (method, target.partition("?")[0]) == ("GET", "/bucket")
    assert "prefix=a%2F" in target


@pytest.mark.parametrize("body", [b"<ListBucketResult><Contents>", b"no xml"])
async def test_a_page_that_cannot_be_read_is_asked_for_again(
    wire: WireServer, connect: Connect, body: bytes
) -> None:
    wire.answers = [wire.answer("200 OK", body)]
    async with connect() as clients:
        with pytest.raises(Transient):
            await Objects(clients.s3).page(AT)


async def test_messages_are_received_ten_by_long_poll(wire: WireServer, connect: Connect) -> None:
    messages = [{"MessageId": "m", "ReceiptHandle": "r", "Body": "text"}]
    wire.answers = [
        wire.answer("200 OK", json.dumps({"Messages": messages}).encode()),
        wire.answer("200 OK", b"{}"),
    ]
    async with connect() as clients:
        queue = Queue(clients.sqs, f"{wire.url}/123456789012/done")
        assert await queue.receive() == [Message("text", "r")]
        assert await queue.receive() == []
    asked = json.loads(wire.requests[0].body)
    assert asked["QueueUrl"] == f"{wire.url}/123456789012/done"
    assert (asked["MaxNumberOfMessages"], asked["WaitTimeSeconds"]) == (10, 20)


async def test_receipts_that_failed_come_back(wire: WireServer, connect: Connect) -> None:
    failed = {"Id": "1", "SenderFault": True, "Code": "ReceiptHandleIsInvalid"}
    answer = {"Successful": [{"Id": "0"}, {"Id": "2"}], "Failed": [failed]}
    wire.answers = [wire.answer("200 OK", json.dumps(answer).encode())]
    async with connect() as clients:
        queue = Queue(clients.sqs, f"{wire.url}/123456789012/done")
        assert await queue.delete(["a", "b", "a"]) == ["b"]
    entries = json.loads(wire.requests[0].body)["Entries"]
    assert [entry["ReceiptHandle"] for entry in entries] == ["a", "b", "a"]
    assert len({entry["Id"] for entry in entries}) == 3


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        ("400 Bad Request", "com.amazonaws.sqs#QueueDoesNotExist", Denied),
        ("403 Forbidden", "com.amazonaws.sqs#AccessDeniedException", Denied),
        ("400 Bad Request", "com.amazonaws.sqs#RequestThrottled", Throttled),
        ("400 Bad Request", "com.amazonaws.sqs#ReceiptHandleIsInvalid", Rejected),
        ("500 Internal Server Error", "com.amazonaws.sqs#InternalFailure", Transient),
    ],
)
async def test_refusals_of_sqs(
    wire: WireServer, connect: Connect, status: str, kind: str, error: type[Exception]
) -> None:
    body = json.dumps({"__type": kind, "message": "no"}).encode()
    wire.answers = [wire.answer(status, body)]
    async with connect() as clients:
        with pytest.raises(error):
            await Queue(clients.sqs, f"{wire.url}/123456789012/done").receive()
    assert len(wire.requests) == 1
