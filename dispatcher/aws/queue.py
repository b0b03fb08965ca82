"""Client of one SQS queue, over any transport."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from dispatcher import limits
from dispatcher.aws.error_mapping import MALFORMED_RESPONSE_ERRORS, by_code
from dispatcher.aws.requests import SqsMessage
from dispatcher.errors import CallError, Denied, Transient

_T = TypeVar("_T")

_ATTRIBUTES = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "RedrivePolicy",
    "VisibilityTimeout",
)


class SqsCalls(Protocol):
    """Transport of SQS operations."""

    async def call(self, operation: str, action: str, parameters: dict[str, object]) -> Any:
        """Call an operation and return its response, parsed from JSON.

        Raises:
            Throttled, Transient: Repeat it.
            Rejected: Never repeat it.
            Denied: A person has to fix it.
        """


class Queue:
    """Client of one queue, with just the calls that are made.

    All of them raise ``Throttled`` or ``Transient`` (repeat), ``Rejected`` (never repeat) and
    ``Denied`` (a person has to fix it). Those that carry several entries return the errors of the
    entries that failed, by index: ``Rejected`` where the entry itself is wrong, else repeat it.
    """

    def __init__(self, url: str, calls: SqsCalls) -> None:
        self._url = url
        self._calls = calls

    @property
    def url(self) -> str:
        """The queue's URL."""
        return self._url

    async def receive(self, *, wait: int | None = None) -> list[SqsMessage]:
        """Wait for messages; return at most ten, or none.

        Args:
            wait: Most seconds to wait for the first one; None: as long as SQS allows.
        """
        action = f"receiving from queue {self._url}"
        parameters: dict[str, object] = {
            "QueueUrl": self._url,
            "MaxNumberOfMessages": limits.SQS_BATCH_ENTRIES,
            "WaitTimeSeconds": limits.SQS_LONG_POLL_SECONDS if wait is None else wait,
        }
        response = await self._calls.call("ReceiveMessage", action, parameters)
        return _parse(
            lambda: [
                SqsMessage(_text(m["Body"]), _text(m["ReceiptHandle"]), _text(m["MessageId"]))
                for m in response.get("Messages") or ()
            ],
            action,
        )

    async def delete(self, receipts: Sequence[str]) -> dict[int, CallError]:
        """Delete up to ten messages."""
        entries = [{"Id": str(i), "ReceiptHandle": r} for i, r in enumerate(receipts)]
        return await self._batch("DeleteMessageBatch", "deleting from", entries)

    async def send(self, bodies: Sequence[str]) -> dict[int, CallError]:
        """Send up to ten messages."""
        entries = [{"Id": str(i), "MessageBody": body} for i, body in enumerate(bodies)]
        return await self._batch("SendMessageBatch", "sending to", entries)

    async def change_visibility(self, changes: Sequence[tuple[str, int]]) -> dict[int, CallError]:
        """Hide up to ten messages, given by receipt, for some seconds from now."""
        entries = [
            {"Id": str(i), "ReceiptHandle": receipt, "VisibilityTimeout": seconds}
            for i, (receipt, seconds) in enumerate(changes)
        ]
        return await self._batch("ChangeMessageVisibilityBatch", "changing visibility in", entries)

    async def attributes(self) -> dict[str, str] | None:
        """Return the attributes of the queue; None without the permission to read them."""
        action = f"looking at queue {self._url}"
        parameters: dict[str, object] = {
            "QueueUrl": self._url,
            "AttributeNames": list(_ATTRIBUTES),
        }
        try:
            response = await self._calls.call("GetQueueAttributes", action, parameters)
        except Denied as error:
            if error.code.startswith("AccessDenied"):
                return None
            raise
        return _parse(
            lambda: {
                name: _text(value) for name, value in (response.get("Attributes") or {}).items()
            },
            action,
        )

    async def _batch(
        self, operation: str, verb: str, entries: Sequence[object]
    ) -> dict[int, CallError]:
        """Call an operation on entries whose ids are their indices."""
        action = f"{verb} queue {self._url}"
        parameters: dict[str, object] = {"QueueUrl": self._url, "Entries": entries}
        response = await self._calls.call(operation, action, parameters)
        indices = range(len(entries))
        failed = _parse(
            lambda: [
                (indices[int(_text(entry["Id"]))], _error(entry, action))
                for entry in response.get("Failed") or ()
            ],
            action,
        )
        errors: dict[int, CallError] = {}
        for index, error in failed:
            if not isinstance(error, CallError):
                raise error  # every entry would fail like this
            errors[index] = error
        return errors


def _error(entry: Mapping[str, object], action: str) -> Exception:
    status = 400 if entry.get("SenderFault") else 500
    return by_code(
        str(entry.get("Code") or "Unknown"), status, str(entry.get("Message") or ""), action=action
    )


def _parse(parse: Callable[[], _T], action: str) -> _T:
    """Parse a response; one that cannot be parsed counts as no response."""
    try:
        return parse()
    except MALFORMED_RESPONSE_ERRORS as error:
        raise Transient(f"no response while {action}: {error!r}", code="NoAnswer") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text was expected, not {type(value).__name__}")
    return value
