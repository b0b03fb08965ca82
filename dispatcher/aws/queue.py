"""The calls to one SQS queue, whatever the transport."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from dispatcher import limits
from dispatcher.aws.calls import Message
from dispatcher.aws.mapping import UNREADABLE
from dispatcher.errors import Transient

_Read = TypeVar("_Read")


class SqsCalls(Protocol):
    """The operations of SQS."""

    async def call(self, operation: str, doing: str, parameters: dict[str, object]) -> Any:
        """Call an operation and return its answer as read from JSON.

        Raises:
            Throttled, Transient: Repeat it.
            Rejected: Never repeat it.
            Denied: A person has to mend it.
        """


class Queue:
    """One queue, with just the calls that are made.

    All of them raise ``Throttled`` or ``Transient`` (repeat), ``Rejected`` (never repeat) and
    ``Denied`` (a person has to mend it).
    """

    def __init__(self, url: str, calls: SqsCalls) -> None:
        self._url = url
        self._calls = calls

    async def receive(self) -> list[Message]:
        """Wait up to 20 seconds for messages; return at most ten, or none."""
        doing = f"receiving from queue {self._url}"
        parameters: dict[str, object] = {
            "QueueUrl": self._url,
            "MaxNumberOfMessages": limits.SQS_BATCH_ENTRIES,
            "WaitTimeSeconds": limits.SQS_LONG_POLL_SECONDS,
        }
        answer = await self._calls.call("ReceiveMessage", doing, parameters)
        return _read(
            lambda: [
                Message(_text(m["Body"]), _text(m["ReceiptHandle"]))
                for m in answer.get("Messages") or ()
            ],
            doing,
        )

    async def delete(self, receipts: Sequence[str]) -> list[str]:
        """Delete up to ten messages; return the receipts that failed."""
        entries = [{"Id": str(i), "ReceiptHandle": r} for i, r in enumerate(receipts)]
        failed = await self._batch("DeleteMessageBatch", "deleting from", entries)
        return [receipts[i] for i in failed]

    async def send(self, bodies: Sequence[str]) -> list[int]:
        """Send up to ten messages; return the indices of those that failed."""
        entries = [{"Id": str(i), "MessageBody": body} for i, body in enumerate(bodies)]
        return await self._batch("SendMessageBatch", "sending to", entries)

    async def change_visibility(self, changes: Sequence[tuple[str, int]]) -> list[str]:
        """Hide up to ten messages for some seconds from now; return the receipts that failed."""
        entries = [
            {"Id": str(i), "ReceiptHandle": receipt, "VisibilityTimeout": seconds}
            for i, (receipt, seconds) in enumerate(changes)
        ]
        failed = await self._batch(
            "ChangeMessageVisibilityBatch", "changing visibility in", entries
        )
        return [changes[i][0] for i in failed]

    async def _batch(self, operation: str, verb: str, entries: Sequence[object]) -> list[int]:
        """Call an operation on entries whose ids are their indices; return those that failed."""
        doing = f"{verb} queue {self._url}"
        parameters: dict[str, object] = {"QueueUrl": self._url, "Entries": entries}
        answer = await self._calls.call(operation, doing, parameters)
        indices = range(len(entries))
        return _read(
            lambda: [indices[int(_text(entry["Id"]))] for entry in answer.get("Failed") or ()],
            doing,
        )


def _read(read: Callable[[], _Read], doing: str) -> _Read:
    """Read an answer; one that cannot be read is none."""
    try:
        return read()
    except UNREADABLE as error:
        raise Transient(f"no answer while {doing}: {error!r}", code="NoAnswer") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text was expected, not {type(value).__name__}")
    return value
