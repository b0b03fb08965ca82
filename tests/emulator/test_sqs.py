"""SQS, SNS and S3 through aioboto3 as this project has it, and long polls byte by byte."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aioboto3
import orjson
import pytest
from botocore.exceptions import ClientError

from dispatcher.emulator.server import Emulator


@pytest.fixture(scope="session")
def session() -> Any:
    # One for all tests: it keeps the service models, which take half a second to read.
    return aioboto3.Session(
        aws_access_key_id=Emulator.access_key_id,
        aws_secret_access_key=Emulator.secret_access_key,
        region_name=Emulator.region,
    )


@pytest.fixture
async def clients(emulator: Emulator, session: Any) -> AsyncIterator[dict[str, Any]]:
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(session.client(name, endpoint_url=emulator.url))
            for name in ("sqs", "sns", "s3")
        }


@pytest.fixture
def sqs(clients: dict[str, Any]) -> Any:
    return clients["sqs"]


@pytest.fixture
async def queue(sqs: Any) -> str:
    created = await sqs.create_queue(QueueName="q", Attributes={"MaximumMessageSize": "2048"})
    return str(created["QueueUrl"])


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


async def test_long_poll_is_woken_by_an_arrival(
    sqs: Any, queue: str, emulator: Emulator, waiting: Any
) -> None:
    async with asyncio.timeout(5):
        poll = asyncio.create_task(sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20))
        await waiting(emulator, "q", 1)
        assert not poll.done()
        await sqs.send_message(QueueUrl=queue, MessageBody="now")
        assert [message["Body"] for message in (await poll)["Messages"]] == ["now"]


async def test_long_poll_is_woken_by_a_message_put_back(
    sqs: Any, queue: str, emulator: Emulator, waiting: Any
) -> None:
    async with asyncio.timeout(5):
        await sqs.send_message(QueueUrl=queue, MessageBody="back")
        (message,) = (await sqs.receive_message(QueueUrl=queue))["Messages"]
        poll = asyncio.create_task(sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20))
        await waiting(emulator, "q", 1)
        await sqs.change_message_visibility(
            QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )
        (again,) = (await poll)["Messages"]
        assert again["MessageId"] == message["MessageId"]
        assert again["ReceiptHandle"] != message["ReceiptHandle"]


async def test_client_that_hangs_up_swallows_no_message(
    sqs: Any, queue: str, emulator: Emulator, connect: Any, waiting: Any
) -> None:
    async def ask() -> Any:
        wire = await connect(emulator.url)
        asked = orjson.dumps({"QueueUrl": queue, "WaitTimeSeconds": 20})
        target = {"X-Amz-Target": "AmazonSQS.ReceiveMessage"}
        wire.send("POST", "/", target, asked, service="sqs")
        return wire

    async with asyncio.timeout(5):
        gone = [await ask() for _ in range(5)]
        await waiting(emulator, "q", 5)
        stays = await ask()
        await waiting(emulator, "q", 6)
        for wire in gone:
            wire.writer.transport.abort()
        await sqs.send_message(QueueUrl=queue, MessageBody="precious")
        (message,) = orjson.loads((await stays.reply()).body)["Messages"]
        assert message["Body"] == "precious"


async def test_purge_empties_the_queue(sqs: Any, queue: str) -> None:
    await sqs.send_message(QueueUrl=queue, MessageBody="x")
    await sqs.purge_queue(QueueUrl=queue)
    assert "Messages" not in await sqs.receive_message(QueueUrl=queue)


async def test_topic_delivers_raw_wrapped_and_filtered(clients: dict[str, Any], queue: str) -> None:
    sns, sqs = clients["sns"], clients["sqs"]
    topic = (await sns.create_topic(Name="t"))["TopicArn"]
    arn = (await sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"]))[
        "Attributes"
    ]["QueueArn"]
    subscribed = await sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=arn,
        Attributes={"FilterPolicyScope": "MessageBody", "FilterPolicy": '{"a": ["x"]}'},
    )
    listed = await sns.list_subscriptions_by_topic(TopicArn=topic)
    assert [s["Endpoint"] for s in listed["Subscriptions"]] == [arn]

    async def publish_and_take(message: str) -> list[str]:
        await sns.publish(TopicArn=topic, Message=message, Subject="s & t")
        got = await sqs.receive_message(QueueUrl=queue)
        bodies = [m["Body"] for m in got.get("Messages", [])]
        await sqs.purge_queue(QueueUrl=queue)
        return bodies

    assert await publish_and_take('{"a": "y"}') == []
    assert await publish_and_take("no json") == []
    (envelope,) = await publish_and_take('{"a": "x"}')
    assert json.loads(envelope)["Message"] == '{"a": "x"}'
    assert json.loads(envelope)["Subject"] == "s & t"
    for name, value in (("RawMessageDelivery", "true"), ("FilterPolicy", "{}")):
        await sns.set_subscription_attributes(
            SubscriptionArn=subscribed["SubscriptionArn"], AttributeName=name, AttributeValue=value
        )
    assert await publish_and_take("no json") == ["no json"]
    await sns.unsubscribe(SubscriptionArn=subscribed["SubscriptionArn"])
    assert await publish_and_take("nobody") == []


async def test_filter_policy_of_another_kind_is_refused(
    clients: dict[str, Any], emulator: Emulator
) -> None:
    sns = clients["sns"]
    topic = (await sns.create_topic(Name="t"))["TopicArn"]
    with pytest.raises(ClientError, match="anything-but"):
        await sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint="arn:aws:sqs:us-east-1:000000000000:completions",
            Attributes={"FilterPolicy": '{"a": [{"anything-but": ["x"]}]}'},
        )
    assert not (await sns.list_subscriptions_by_topic(TopicArn=topic))["Subscriptions"]


async def test_aioboto3_puts_and_lists_objects(clients: dict[str, Any]) -> None:
    s3 = clients["s3"]
    for n in range(5):
        await s3.put_object(Bucket="emulator-input", Key=f"d{n % 2}/k{n}", Body=b"x" * n)
    listed = await s3.list_objects_v2(Bucket="emulator-input", Delimiter="/", MaxKeys=1)
    assert [p["Prefix"] for p in listed["CommonPrefixes"]] == ["d0/"]
    rest = await s3.list_objects_v2(
        Bucket="emulator-input",
        Delimiter="/",
        ContinuationToken=listed["NextContinuationToken"],
    )
    assert [p["Prefix"] for p in rest["CommonPrefixes"]] == ["d1/"]
    got = await s3.get_object(Bucket="emulator-input", Key="d1/k3")
    assert await got["Body"].read() == b"xxx"


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


@pytest.mark.parametrize(
    "form",
    [
        "Message=a%00b",
        "Message=x&MessageAttributes.entry.1.Name=a",
        "Message=x&MessageAttributes.entry.1.Name=a&MessageAttributes.entry.1.Value.BinaryValue=-",
    ],
)
async def test_odd_publish_is_the_callers_fault(wire: Any, form: str) -> None:
    topic = "arn:aws:sns:us-east-1:000000000000:emulated-success"
    body = f"Action=Publish&TopicArn={topic}&{form}".encode()
    assert (await wire.ask("POST", "/", {}, body, service="sns")).status == 400


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
