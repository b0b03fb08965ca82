"""SQS as a service, through aioboto3 and over HTTP."""

import hashlib
from typing import Any

import orjson
import pytest
from botocore.exceptions import ClientError

from dispatcher.emulator.server import Emulator


async def test_message_travels_with_its_digest_and_attributes(sqs: Any, queue: str) -> None:
    attributes = {"n": {"DataType": "Number", "StringValue": "7"}}
    sent = await sqs.send_message(QueueUrl=queue, MessageBody="hällo", MessageAttributes=attributes)
    got = await sqs.receive_message(
        QueueUrl=queue, AttributeNames=["All"], MessageAttributeNames=["All"]
    )
    (message,) = got["Messages"]
    assert message["Body"] == "hällo"
    assert message["MD5OfBody"] == hashlib.md5("hällo".encode()).hexdigest()
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["MessageAttributes"] == attributes
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"


async def test_batches_report_each_entry(sqs: Any, queue: str) -> None:
    entries = [{"Id": f"{n}", "MessageBody": f"m{n}"} for n in range(10)]
    sent = await sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    assert [entry["Id"] for entry in sent["Successful"]] == [f"{n}" for n in range(10)]
    got = await sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
    assert [message["Body"] for message in got["Messages"]] == [f"m{n}" for n in range(10)]
    handles = [message["ReceiptHandle"] for message in got["Messages"]]
    changed = await sqs.change_message_visibility_batch(
        QueueUrl=queue,
        Entries=[{"Id": "a", "ReceiptHandle": handles[0], "VisibilityTimeout": 0}],
    )
    assert [entry["Id"] for entry in changed["Successful"]] == ["a"]
    deleted = await sqs.delete_message_batch(
        QueueUrl=queue,
        Entries=[
            {"Id": "good", "ReceiptHandle": handles[1]},
            {"Id": "bad", "ReceiptHandle": "nonsense"},
        ],
    )
    assert [entry["Id"] for entry in deleted["Successful"]] == ["good"]
    (failed,) = deleted["Failed"]
    assert (failed["Id"], failed["Code"]) == ("bad", "ReceiptHandleIsInvalid")
    counts = await sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])
    assert counts["Attributes"]["ApproximateNumberOfMessages"] == "1"
    assert counts["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "8"


@pytest.mark.parametrize(
    ("call", "given", "code"),
    [
        ("get_queue_url", {"QueueName": "none"}, "AWS.SimpleQueueService.NonExistentQueue"),
        ("create_queue", {"QueueName": "a.fifo"}, "InvalidParameterValue"),
        (
            "create_queue",
            {"QueueName": "q", "Attributes": {"DelaySeconds": "9"}},
            "QueueAlreadyExists",
        ),
        ("receive_message", {"MaxNumberOfMessages": 11}, "InvalidParameterValue"),
        ("receive_message", {"WaitTimeSeconds": 21}, "InvalidParameterValue"),
        ("send_message", {"MessageBody": "x" * 2049}, "InvalidParameterValue"),
        (
            "send_message_batch",
            {"Entries": [{"Id": "a", "MessageBody": "x"}] * 2},
            "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
        ),
        (
            "send_message_batch",
            {"Entries": [{"Id": f"{n}", "MessageBody": "x"} for n in range(11)]},
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        ),
        ("send_message_batch", {"Entries": []}, "AWS.SimpleQueueService.EmptyBatchRequest"),
        ("delete_message", {"ReceiptHandle": "nonsense"}, "ReceiptHandleIsInvalid"),
        (
            "change_message_visibility",
            {"ReceiptHandle": "1-1-m", "VisibilityTimeout": 43_201},
            "InvalidParameterValue",
        ),
        (
            "change_message_visibility",
            {"ReceiptHandle": "9-1-m", "VisibilityTimeout": 1},
            "InvalidParameterValue",
        ),
    ],
)
async def test_refusals(sqs: Any, queue: str, call: str, given: dict[str, Any], code: str) -> None:
    if "QueueName" not in given:
        given = {"QueueUrl": queue, **given}
    with pytest.raises(ClientError) as caught:
        await getattr(sqs, call)(**given)
    assert caught.value.response["Error"]["Code"] == code


async def test_purge_empties_the_queue(sqs: Any, queue: str) -> None:
    await sqs.send_message(QueueUrl=queue, MessageBody="x")
    await sqs.purge_queue(QueueUrl=queue)
    assert "Messages" not in await sqs.receive_message(QueueUrl=queue)


@pytest.mark.parametrize(
    ("operation", "given"),
    [
        ("SendMessageBatch", {"Entries": [{"MessageBody": "x"}]}),
        ("SendMessageBatch", {"Entries": [{"Id": 7, "MessageBody": "x"}]}),
        ("SendMessageBatch", {"Entries": [{"Id": ["a"], "MessageBody": "x"}]}),
        ("SendMessageBatch", {"Entries": [{"Id": "a b", "MessageBody": "x"}]}),
        ("SendMessageBatch", {"Entries": ["x"]}),
        ("SendMessageBatch", {"Entries": {"Id": "a"}}),
        ("DeleteMessageBatch", {"Entries": [None]}),
        ("SetQueueAttributes", {"Attributes": ["DelaySeconds"]}),
        ("SetQueueAttributes", {"Attributes": {"DelaySeconds": "9" * 5000}}),
        ("SetQueueAttributes", {"Attributes": {"DelaySeconds": [1]}}),
        ("GetQueueAttributes", {"AttributeNames": 7}),
        ("ReceiveMessage", {"MaxNumberOfMessages": True}),
        ("ReceiveMessage", {"MaxNumberOfMessages": 1.0}),
        ("ReceiveMessage", {"MaxNumberOfMessages": "1"}),
        ("ReceiveMessage", {"AttributeNames": {"a": 1}}),
        ("ReceiveMessage", {"MessageAttributeNames": [7]}),
        ("ListQueues", {"QueueNamePrefix": 7}),
        ("SendMessage", {"MessageBody": "a\0b"}),
        ("SendMessage", {"MessageBody": ["x"]}),
        ("SendMessage", {"MessageBody": "x", "MessageAttributes": ["a"]}),
        ("SendMessage", {"MessageBody": "x", "MessageAttributes": {"a": "x"}}),
        ("SendMessage", {"MessageBody": "x", "MessageAttributes": {"a": {"DataType": 7}}}),
        (
            "SendMessage",
            {
                "MessageBody": "x",
                "MessageAttributes": {"a": {"DataType": "String", "StringValue": 7}},
            },
        ),
        (
            "SendMessage",
            {
                "MessageBody": "x",
                "MessageAttributes": {"a": {"DataType": "Binary", "BinaryValue": "ä"}},
            },
        ),
        ("DeleteMessage", {"ReceiptHandle": f"{'9' * 5000}-1-m"}),
    ],
)
async def test_odd_input_is_the_callers_fault(
    wire: Any, emulator: Emulator, operation: str, given: dict[str, Any]
) -> None:
    asked = orjson.dumps({"QueueUrl": emulator.queue_url, **given})
    target = {"X-Amz-Target": f"AmazonSQS.{operation}"}
    reply = await wire.ask("POST", "/", target, asked, service="sqs")
    assert 400 <= reply.status < 500, reply.body


async def test_queue_keeps_messages_for_its_own_time(clock: Any, quick: Any, connect: Any) -> None:
    async with Emulator(quick.model_copy(update={"events": False}), clock=clock) as emulator:
        wire = await connect(emulator.url)

        async def ask(operation: str, **given: Any) -> Any:
            asked = orjson.dumps({"QueueUrl": emulator.queue_url, **given})
            target = {"X-Amz-Target": f"AmazonSQS.{operation}"}
            return orjson.loads((await wire.ask("POST", "/", target, asked, service="sqs")).body)

        await ask("SendMessage", MessageBody="kept for four days")
        clock._now += 345_599
        assert (await ask("ReceiveMessage", VisibilityTimeout=0))["Messages"]
        clock._now += 1
        assert await ask("ReceiveMessage") == {}
        await ask("SetQueueAttributes", Attributes={"MessageRetentionPeriod": "60"})
        await ask("SendMessage", MessageBody="kept for a minute")
        clock._now += 60
        assert await ask("ReceiveMessage") == {}
