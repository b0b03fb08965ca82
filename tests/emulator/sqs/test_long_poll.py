"""Long polls: woken by messages, left by clients."""

import asyncio
from typing import Any

import orjson

from dispatcher.emulator.server import Emulator


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
