"""The calls to one SQS queue over our own client, in SQS's JSON protocol."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import orjson

from dispatcher import limits
from dispatcher.aws.calls import Message
from dispatcher.aws.direct.caller import Caller, Doing
from dispatcher.aws.direct.request import Form, Request
from dispatcher.errors import Transient

_FORM = Form("POST", before="content-type;", after=";x-amz-target;x-amzn-query-mode")
_TYPE = "content-type:application/x-amz-json-1.0\n"

_ANSWER_BYTES = 8 * limits.SQS_BATCH_BYTES
"""Most bytes of an answer: a full batch, every character of it escaped, and what is around."""


class DirectQueue:
    """One queue; see ``dispatcher.aws.transport.Queue``.

    Args:
        url: The queue's URL.
        caller: Of the service's address.
    """

    def __init__(self, url: str, caller: Caller) -> None:
        self._url = url
        self._caller = caller

    async def receive(self) -> list[Message]:
        """Wait up to 20 seconds for messages; return at most ten, or none."""
        answer = await self._call(
            "ReceiveMessage",
            "receiving from",
            MaxNumberOfMessages=limits.SQS_BATCH_ENTRIES,
            WaitTimeSeconds=limits.SQS_LONG_POLL_SECONDS,
        )
        return [Message(m["Body"], m["ReceiptHandle"]) for m in answer.get("Messages") or ()]

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

    async def _batch(self, operation: str, doing: str, entries: Sequence[object]) -> list[int]:
        answer = await self._call(operation, doing, Entries=entries)
        return [int(entry["Id"]) for entry in answer.get("Failed") or ()]

    async def _call(self, operation: str, doing: str, **parameters: object) -> dict[str, Any]:
        asked = {"QueueUrl": self._url, **parameters}
        try:
            body = orjson.dumps(asked)
        except orjson.JSONEncodeError:
            body = json.dumps(asked).encode()  # half of a surrogate pair; SQS says what it thinks
        request = Request(
            _FORM,
            "",
            before=_TYPE,
            after=f"x-amz-target:AmazonSQS.{operation}\nx-amzn-query-mode:true\n",
            body=body,
            payload_hash=hashlib.sha256(body).hexdigest(),
        )
        what = f"{doing} queue {self._url}"
        answer = await self._caller.call(request, Doing(what), most=_ANSWER_BYTES)
        try:
            said = orjson.loads(answer.body or b"{}")
        except orjson.JSONDecodeError as error:
            raise Transient(f"no answer while {what}: {error}", code="NoAnswer") from error
        if not isinstance(said, dict):
            raise Transient(f"no answer while {what}: not an object", code="NoAnswer")
        return said
