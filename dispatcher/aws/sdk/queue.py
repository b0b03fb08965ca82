"""The calls to an SQS queue through aioboto3."""

from collections.abc import Sequence
from typing import Any

import anyio

from dispatcher import limits
from dispatcher.aws.calls import Message
from dispatcher.aws.mapping import translate


class SdkQueue:
    """One queue; see ``dispatcher.aws.transport.Queue``.

    Args:
        client: aioboto3's client.
        url: The queue's URL.
        total: Most seconds of a call.
    """

    def __init__(self, client: Any, url: str, total: float) -> None:
        self._client = client
        self._url = url
        self._total = total

    async def receive(self) -> list[Message]:
        """Wait up to 20 seconds for messages; return at most ten, or none."""
        answer = await self._call(
            "receive_message",
            "receiving from",
            MaxNumberOfMessages=limits.SQS_BATCH_ENTRIES,
            WaitTimeSeconds=limits.SQS_LONG_POLL_SECONDS,
        )
        return [Message(m["Body"], m["ReceiptHandle"]) for m in answer.get("Messages", ())]

    async def delete(self, receipts: Sequence[str]) -> list[str]:
        """Delete up to ten messages; return the receipts that failed."""
        entries = [{"Id": str(i), "ReceiptHandle": r} for i, r in enumerate(receipts)]
        failed = await self._batch("delete_message_batch", "deleting from", entries)
        return [receipts[i] for i in failed]

    async def send(self, bodies: Sequence[str]) -> list[int]:
        """Send up to ten messages; return the indices of those that failed."""
        entries = [{"Id": str(i), "MessageBody": body} for i, body in enumerate(bodies)]
        return await self._batch("send_message_batch", "sending to", entries)

    async def change_visibility(self, changes: Sequence[tuple[str, int]]) -> list[str]:
        """Hide up to ten messages for some seconds from now; return the receipts that failed."""
        entries = [
            {"Id": str(i), "ReceiptHandle": receipt, "VisibilityTimeout": seconds}
            for i, (receipt, seconds) in enumerate(changes)
        ]
        failed = await self._batch(
            "change_message_visibility_batch", "changing visibility in", entries
        )
        return [changes[i][0] for i in failed]

    async def _batch(self, operation: str, doing: str, entries: Sequence[object]) -> list[int]:
        answer = await self._call(operation, doing, Entries=entries)
        return [int(entry["Id"]) for entry in answer.get("Failed", ())]

    async def _call(self, operation: str, doing: str, **parameters: object) -> dict[str, Any]:
        call = getattr(self._client, operation)
        with (
            translate(f"{doing} queue {self._url}", repeatable=True),
            anyio.fail_after(self._total),
        ):
            answer: dict[str, Any] = await call(QueueUrl=self._url, **parameters)
        return answer
