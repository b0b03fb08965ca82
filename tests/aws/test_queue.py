"""Queue: a well-formed response of another shape ends the call with one of our errors."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from dispatcher.aws.queue import Queue
from dispatcher.aws.requests import SqsMessage
from dispatcher.errors import (
    CallError,
    Denied,
    Rejected,
    ServiceFailed,
    Throttled,
    Transient,
)

if TYPE_CHECKING:
    from tests.aws.conftest import Connect, WireServer

Call = Callable[[Queue], Awaitable[object]]
BATCHES: dict[str, Callable[[Queue], Awaitable[dict[int, CallError]]]] = {
    "delete": lambda queue: queue.delete(["a", "b"]),
    "send": lambda queue: queue.send(["a", "b"]),
    "change-visibility": lambda queue: queue.change_visibility([("a", 1), ("b", 2)]),
}
ODD_RECEIVED = [
    {"Messages": [{}]},
    {"Messages": [{"Body": "x"}]},
    {"Messages": [{"ReceiptHandle": "x"}]},
    {"Messages": [{"Body": "x", "ReceiptHandle": None, "MessageId": "m"}]},
    {"Messages": [{"Body": "x", "ReceiptHandle": "r"}]},
    {"Messages": [{"Body": "x", "ReceiptHandle": "r", "MessageId": "m"}, {}]},
    {"Messages": [[]]},
    {"Messages": ["x"]},
    {"Messages": [None]},
    {"Messages": 5},
]
ODD_OF_A_BATCH = [
    {"Failed": [{}]},
    {"Failed": [{"Id": "99"}]},
    {"Failed": [{"Id": "2"}]},
    {"Failed": [{"Id": "x"}]},
    {"Failed": [{"Id": ""}]},
    {"Failed": [{"Id": None}]},
    {"Failed": [{"Id": "0"}, {"Id": "-9"}]},
    {"Failed": ["x"]},
    {"Failed": [None]},
    {"Failed": 5},
]
ODD_ANYWHERE = [[1], 5, "x", True]


def said(wire: WireServer, result: object) -> None:
    body = result if isinstance(result, bytes) else json.dumps(result).encode()
    wire.responses = [wire.response("200 OK", body, Content_Type="application/x-amz-json-1.0")]


async def assert_none(wire: WireServer, connect: Connect, result: object, call: Call) -> None:
    said(wire, result)
    async with connect() as transport:
        with pytest.raises(Transient) as raised:
            await call(transport.queue(f"{wire.url}/1/q"))
    assert type(raised.value) is Transient
    assert raised.value.code == "NoAnswer"
    assert f"queue {wire.url}/1/q" in str(raised.value)
    assert len(wire.requests) == 1


@pytest.mark.parametrize("result", [*ODD_RECEIVED, *ODD_ANYWHERE, b"\xff"], ids=str)
async def test_messages_that_are_none(wire: WireServer, connect: Connect, result: object) -> None:
    await assert_none(wire, connect, result, lambda queue: queue.receive())


@pytest.mark.parametrize("call", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("result", [*ODD_OF_A_BATCH, *ODD_ANYWHERE, b"\xff"], ids=str)
async def test_failures_that_are_none(
    wire: WireServer, connect: Connect, result: object, call: Call
) -> None:
    await assert_none(wire, connect, result, call)


@pytest.mark.parametrize("result", [[], b"{", b"x", b"{}{}", b"NaN"], ids=str)
@pytest.mark.parametrize("connect", ["direct"], indirect=True)  # to botocore they are empty
async def test_responses_without_json(wire: WireServer, connect: Connect, result: object) -> None:
    await assert_none(wire, connect, result, lambda queue: queue.receive())


@pytest.mark.parametrize("result", [b"", {}, {"Messages": []}, {"Messages": None}, {"New": 1}])
async def test_a_response_without_messages(
    wire: WireServer, connect: Connect, result: object
) -> None:
    said(wire, result)
    async with connect() as transport:
        assert await transport.queue(f"{wire.url}/1/q").receive() == []


async def test_what_an_answer_says_besides_does_not_matter(
    wire: WireServer, connect: Connect
) -> None:
    message = {"Body": "b", "ReceiptHandle": "r", "MessageId": "m", "New": [1]}
    said(wire, {"Messages": [message], "Failed": 5})
    async with connect() as transport:
        assert await transport.queue(f"{wire.url}/1/q").receive() == [SqsMessage("b", "r", "m")]


@pytest.mark.parametrize("call", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"Code": "x", "SenderFault": True}, Rejected),
        ({"Code": "InternalError", "SenderFault": False}, ServiceFailed),
        ({"Code": "RequestThrottled", "SenderFault": True}, Throttled),
        ({}, ServiceFailed),
    ],
    ids=["its-own-fault", "the-service's", "throttled", "no-code"],
)
async def test_those_that_failed_come_back(
    wire: WireServer,
    connect: Connect,
    entry: dict[str, object],
    kind: type[CallError],
    call: Callable[[Queue], Awaitable[dict[int, CallError]]],
) -> None:
    failure = {"Id": "1", "Message": "the words of SQS", **entry}
    said(wire, {"Failed": [failure], "Successful": [{"Id": "0"}]})
    async with connect() as transport:
        failed = await call(transport.queue(f"{wire.url}/1/q"))
    assert "the words of SQS" in str(failed[1])
    assert {index: type(error) for index, error in failed.items()} == {1: kind}
    assert failed[1].code == entry.get("Code", "Unknown")


@pytest.mark.parametrize("call", BATCHES.values(), ids=BATCHES)
async def test_a_denied_entry_stops_the_run(wire: WireServer, connect: Connect, call: Call) -> None:
    said(wire, {"Failed": [{"Id": "1", "Code": "KMS.AccessDeniedException", "SenderFault": True}]})
    async with connect() as transport:
        with pytest.raises(Denied):
            await call(transport.queue(f"{wire.url}/1/q"))


@pytest.mark.parametrize("attributes", [5, [1], {"VisibilityTimeout": 30}, "x"], ids=str)
async def test_attributes_that_are_none(
    wire: WireServer, connect: Connect, attributes: object
) -> None:
    await assert_none(wire, connect, {"Attributes": attributes}, lambda queue: queue.attributes())
