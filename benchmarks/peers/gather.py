"""aioboto3 with a semaphore and ``gather``; completions from SQS. With --staged inputs go to S3.

No ledger, no retries of failed inferences, and results are lost when it dies: what a competent
afternoon gives.
"""

import asyncio
import contextlib
import json
from typing import Any, BinaryIO

import aioboto3
import aiobotocore.session
import uvloop
from aiobotocore.config import AioConfig

from benchmarks.peers.task import (
    IN_FLIGHT,
    STAGING,
    Task,
    answer_in,
    bucket_and_key,
    key_of,
    names,
    new_id,
    result_line,
)
from benchmarks.sdk import teach

_RECEIVERS = 2


class Program:
    """One run of it on open clients."""

    def __init__(self, task: Task, runtime: Any, s3: Any, sqs: Any, out: BinaryIO) -> None:
        self._task, self._out = task, out
        self._runtime, self._s3, self._sqs = runtime, s3, sqs
        self._semaphore = asyncio.Semaphore(IN_FLIGHT)
        self._waiting: dict[str, str] = {}
        self._all_sent = False
        self._done = asyncio.Event()

    async def run(self) -> None:
        """Send all records, and wait for all results."""
        receivers = [asyncio.create_task(self._receive()) for _ in range(_RECEIVERS)]
        await asyncio.gather(*(self._send(line) for line in self._task.lines()))
        self._all_sent = True
        if self._waiting:
            await self._done.wait()
        for receiver in receivers:
            receiver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await receiver

    async def _send(self, line: bytes) -> None:
        inference_id = new_id()
        async with self._semaphore:
            self._waiting[inference_id] = key_of(line)
            if self._task.staged:
                key = f"staged/{inference_id}.json"
                await self._s3.put_object(
                    Bucket=STAGING, Key=key, Body=line, ContentType="application/json"
                )
                payload: dict[str, Any] = {"InputLocation": f"s3://{STAGING}/{key}"}
            else:
                payload = {"Body": line}
            await self._runtime.invoke_endpoint_async(**names(inference_id), **payload)

    async def _receive(self) -> None:
        queue = self._task.queue
        while True:
            answer = await self._sqs.receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=20
            )
            if not (messages := answer.get("Messages", [])):
                continue
            events = [json.loads(message["Body"]) for message in messages]
            outputs = await asyncio.gather(*(self._output(event) for event in events))
            finished = []
            for event, output in zip(events, outputs, strict=True):
                inference_id = event["inferenceId"]
                if (key := self._waiting.get(inference_id)) is not None:
                    self._out.write(result_line(key, output))
                    finished.append(inference_id)
            self._out.flush()
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages)
            ]
            await self._sqs.delete_message_batch(QueueUrl=queue, Entries=entries)
            for inference_id in finished:
                self._waiting.pop(inference_id, None)
            if self._all_sent and not self._waiting:
                self._done.set()

    async def _output(self, event: dict[str, Any]) -> bytes:
        if event["invocationStatus"] != "Completed":
            raise RuntimeError(f"{event['inferenceId']} failed: {event.get('failureReason')}")
        if (answer := answer_in(event)) is not None:
            return answer
        bucket, key = bucket_and_key(event["responseParameters"]["outputLocation"])
        found = await self._s3.get_object(Bucket=bucket, Key=key)
        async with found["Body"] as stream:
            output: bytes = await stream.read()
            return output


async def main() -> None:
    task = Task.from_command_line(__doc__)
    session = aioboto3.Session(botocore_session=teach(aiobotocore.session.get_session()))
    config = AioConfig(max_pool_connections=2 * IN_FLIGHT)
    async with (
        session.client("sagemaker-runtime", config=config) as runtime,
        session.client("s3", config=config) as s3,
        session.client("sqs", config=config) as sqs,
    ):
        with task.out.open("wb") as out:
            await Program(task, runtime, s3, sqs, out).run()


if __name__ == "__main__":
    uvloop.run(main())
