"""The calls to an SQS queue."""

from collections.abc import Sequence
from typing import Any

from dispatcher import limits
from dispatcher.aws.calls import Message
from dispatcher.aws.mapping import translate


class Queue:
    """One SQS queue, with just the calls that are made.

    All of them raise ``Throttled`` or ``Transient`` (repeat) and ``Denied`` (a person has to
    mend it).
    """

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    async def receive(self) -> list[Message]:
        """Wait up to 20 seconds for messages; return at most ten, or none."""
        with translate(f"receiving from queue {self._url}", repeatable=True):
            answer = await self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=limits.SQS_BATCH_ENTRIES,
                WaitTimeSeconds=limits.SQS_LONG_POLL_SECONDS,
            )
        return [Message(m["Body"], m["ReceiptHandle"]) for m in answer.get("Messages", ())]

    async def delete(self, receipts: Sequence[str]) -> list[str]:
        """Delete up to ten messages; return the receipts that failed."""
        entries = [{"Id": str(i), "ReceiptHandle": r} for i, r in enumerate(receipts)]
        with translate(f"deleting from queue {self._url}", repeatable=True):
            answer = await self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
        return [receipts[int(entry["Id"])] for entry in answer.get("Failed", ())]
