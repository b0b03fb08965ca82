"""SQS calls on the wire, by both transports: requests, errors, and broken responses."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from dispatcher.aws.queue import Queue
from dispatcher.aws.requests import SqsMessage
from dispatcher.aws.transport import open_transport
from dispatcher.config.settings import AwsSettings
from dispatcher.errors import CallError, Denied, Rejected, Throttled, Transient

if TYPE_CHECKING:
    from tests.aws.conftest import Connect, ScriptedResponse, WireServer


async def test_messages_are_received_ten_by_long_poll(wire: WireServer, connect: Connect) -> None:
    messages = [{"MessageId": "m", "ReceiptHandle": "r", "Body": "text"}]
    wire.responses = [
        wire.response("200 OK", json.dumps({"Messages": messages}).encode()),
        wire.response("200 OK", b"{}"),
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
    """Call that carries several entries.

    Attributes:
        operation: Its name at the service.
        call: Makes it with three entries.
        entries: The sent entries.
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
    wire.responses = [
        wire.response("200 OK", json.dumps(done | {"Failed": [failed]}).encode()),
        wire.response("200 OK", json.dumps(done).encode()),
        wire.response("200 OK", json.dumps(done | {"Failed": []}).encode()),
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
async def test_errors_of_sqs(
    wire: WireServer,
    connect: Connect,
    call: Callable[[Queue], Awaitable[object]],
    refused: tuple[str, str, type[Exception]],
) -> None:
    status, kind, error = refused
    body = json.dumps({"__type": kind, "message": "no"}).encode()
    wire.responses = [wire.response(status, body)]
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
async def test_calls_without_a_whole_response_may_be_repeated(
    wire: WireServer,
    connect: Connect,
    call: Callable[[Queue], Awaitable[object]],
    ending: ScriptedResponse,
) -> None:
    wire.responses = [ending]
    async with connect(AwsSettings.model_construct(read_timeout=0.1)) as transport:
        with pytest.raises(Transient) as raised:
            await call(transport.queue(f"{wire.url}/123456789012/done"))
    assert (type(raised.value), raised.value.code) == (Transient, "NoAnswer")
    assert len(wire.requests) == 1, "no hidden retries"


@each_call_of_sqs
@pytest.mark.parametrize("body", [b"no JSON", b"[]"])
async def test_a_response_that_cannot_be_read_is_none(
    wire: WireServer, call: Callable[[Queue], Awaitable[object]], body: bytes
) -> None:
    """Through aioboto3 what is no JSON would be taken for a success of every entry."""
    wire.responses = [wire.response("200 OK", body)]
    async with open_transport(AwsSettings(), connections=1) as transport:
        with pytest.raises(Transient) as raised:
            await call(transport.queue(f"{wire.url}/123456789012/done"))
    assert raised.value.code == "NoAnswer"
