"""boto3 with thread pools: some invoke, some receive completions from SQS and read outputs."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import boto3
import botocore.session
from botocore.config import Config

from benchmarks.peers.task import (
    Task,
    answer_in,
    bucket_and_key,
    key_of,
    names,
    new_id,
    result_line,
)
from benchmarks.sdk import teach

_SENDERS = 16
_RECEIVERS = 4


class Program:
    """One run of it on open clients, which threads may share."""

    def __init__(self, task: Task, runtime: Any, s3: Any, sqs: Any, out: BinaryIO) -> None:
        self._task, self._out = task, out
        self._runtime, self._s3, self._sqs = runtime, s3, sqs
        self._waiting: dict[str, str] = {}
        self._lock = threading.Lock()
        self._all_sent = False
        self._done = threading.Event()

    def run(self) -> None:
        """Send all records, and wait for all results."""
        for _ in range(_RECEIVERS):
            # A long poll cannot be cancelled; it ends with the process.
            threading.Thread(target=self._receive, daemon=True).start()
        with ThreadPoolExecutor(_SENDERS) as pool:
            for _ in pool.map(self._send, self._task.lines()):
                pass
        self._all_sent = True
        with self._lock:
            self._look_whether_done()
        self._done.wait()

    def _send(self, line: bytes) -> None:
        inference_id = new_id()
        self._waiting[inference_id] = key_of(line)
        self._runtime.invoke_endpoint_async(**names(inference_id), Body=line)

    def _receive(self) -> None:
        for messages in self._batches():
            lines = []
            for message in messages:
                event = json.loads(message["Body"])
                if (key := self._waiting.get(event["inferenceId"])) is not None:
                    lines.append((event["inferenceId"], result_line(key, self._output(event))))
            with self._lock:
                self._out.write(b"".join(line for _, line in lines))
                self._out.flush()
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages)
            ]
            self._sqs.delete_message_batch(QueueUrl=self._task.queue, Entries=entries)
            with self._lock:
                for inference_id, _ in lines:
                    self._waiting.pop(inference_id, None)
                self._look_whether_done()

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        while True:
            answer = self._sqs.receive_message(
                QueueUrl=self._task.queue, MaxNumberOfMessages=10, WaitTimeSeconds=20
            )
            if messages := answer.get("Messages"):
                yield messages

    def _output(self, event: dict[str, Any]) -> bytes:
        if event["invocationStatus"] != "Completed":
            raise RuntimeError(f"{event['inferenceId']} failed: {event.get('failureReason')}")
        if (answer := answer_in(event)) is not None:
            return answer
        bucket, key = bucket_and_key(event["responseParameters"]["outputLocation"])
        output: bytes = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return output

    def _look_whether_done(self) -> None:
        if self._all_sent and not self._waiting:
            self._done.set()


def main() -> None:
    task = Task.from_command_line(__doc__)
    session = boto3.Session(botocore_session=teach(botocore.session.get_session()))
    config = Config(max_pool_connections=_SENDERS + _RECEIVERS)
    runtime, s3, sqs = (
        session.client(name, config=config) for name in ("sagemaker-runtime", "s3", "sqs")
    )
    with task.out.open("wb") as out:
        Program(task, runtime, s3, sqs, out).run()


if __name__ == "__main__":
    main()
