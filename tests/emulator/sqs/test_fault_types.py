"""Faults inside queues, over HTTP."""

from typing import Any

import orjson
import pytest

from dispatcher.emulator.server import Emulator
from tests.emulator.calls import (
    ask_sqs,
    receive,
    texts,
)
from tests.emulator.conftest import Connect, Wire


async def test_messages_received_before_a_reset_come_again(
    emulator: Emulator, wire: Wire, connect: Connect
) -> None:
    asked = {"QueueUrl": emulator.queue_url, "MaxNumberOfMessages": 10}
    with emulator.faults.inject("sqs_reset"), pytest.raises(ConnectionResetError):
        await ask_sqs(wire, "ReceiveMessage", VisibilityTimeout=0, **asked)
    wire = await connect(emulator.url)
    reply = await ask_sqs(wire, "ReceiveMessage", AttributeNames=["All"], **asked)
    counts = [
        message["Attributes"]["ApproximateReceiveCount"]
        for message in orjson.loads(reply.body)["Messages"]
    ]
    assert counts == ["2", "2"]


@pytest.mark.parametrize(
    ("operation", "asked", "left"),
    [
        ("SendMessageBatch", {"MessageBody": "a"}, (1, 3)),
        ("ChangeMessageVisibilityBatch", {"VisibilityTimeout": 0}, (1, 2)),
        ("DeleteMessageBatch", {}, (0, 1)),
    ],
)
async def test_one_entry_of_a_batch_fails_and_nothing_is_done_to_it(
    emulator: Emulator, wire: Wire, operation: str, asked: dict[str, Any], left: tuple[int, int]
) -> None:
    queue = emulator.queue_url
    handles = [message["ReceiptHandle"] for message in await receive(emulator, wire)]
    entries = [{"Id": str(n), "ReceiptHandle": h, **asked} for n, h in enumerate(handles)]
    with emulator.faults.inject("sqs_failed_entry", when=lambda call: call.id == "1") as injection:
        reply = await ask_sqs(wire, operation, QueueUrl=queue, Entries=entries)
    answer = orjson.loads(reply.body)
    assert [entry["Id"] for entry in answer["Successful"]] == ["0"]
    (failed,) = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("1", "InternalError", False)
    assert injection.hits == 1
    assert (len(await texts(emulator, wire)), await held(emulator, wire)) == left


async def test_a_message_is_delivered_twice(emulator: Emulator, wire: Wire) -> None:
    await texts(emulator, wire)  # the test events
    queue = emulator.queue_url
    await ask_sqs(wire, "SendMessage", QueueUrl=queue, MessageBody="once")
    with emulator.faults.inject("sqs_redelivery", times=1):
        (first,), (second,) = await receive(emulator, wire), await receive(emulator, wire)
        assert await receive(emulator, wire) == []
    assert first["MessageId"] == second["MessageId"]
    assert first["ReceiptHandle"] != second["ReceiptHandle"]
    # The first handle is stale: the message stays.
    await ask_sqs(wire, "DeleteMessage", QueueUrl=queue, ReceiptHandle=first["ReceiptHandle"])
    assert await held(emulator, wire) == 3
    await ask_sqs(wire, "DeleteMessage", QueueUrl=queue, ReceiptHandle=second["ReceiptHandle"])
    assert await held(emulator, wire) == 2


async def held(emulator: Emulator, wire: Wire) -> int:
    reply = await ask_sqs(
        wire, "GetQueueAttributes", QueueUrl=emulator.queue_url, AttributeNames=["All"]
    )
    attributes = orjson.loads(reply.body)["Attributes"]
    return int(attributes["ApproximateNumberOfMessagesNotVisible"])
