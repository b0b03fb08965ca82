"""SQS over its JSON protocol."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson

from dispatcher import limits
from dispatcher.emulator.auth.refusals import CommonSignatureRefusals
from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.http.message import HttpRequest, HttpResponse, Refusal, ServiceResponse
from dispatcher.emulator.sqs.call import read_call
from dispatcher.emulator.sqs.long_poll import ACCOUNT, PolledQueue, Queues
from dispatcher.emulator.sqs.messages import bad_receipt, delete, send, shown
from dispatcher.emulator.sqs.parameters import (
    DEFAULTS,
    MESSAGE_BYTES,
    VISIBILITY_SECONDS,
    Input,
    each,
    entries,
    number,
    settable,
    text,
    texts,
)

# Code in the body: code in the header, for clients of the former query protocol.
_QUERY_CODES: Final = {
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    "TooManyEntriesInBatchRequest": "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
    "EmptyBatchRequest": "AWS.SimpleQueueService.EmptyBatchRequest",
    "BatchEntryIdsNotDistinct": "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
    "InvalidBatchEntryId": "AWS.SimpleQueueService.InvalidBatchEntryId",
    "BatchRequestTooLong": "AWS.SimpleQueueService.BatchRequestTooLong",
    "MessageNotInflight": "AWS.SimpleQueueService.MessageNotInflight",
    "UnsupportedOperation": "AWS.SimpleQueueService.UnsupportedOperation",
    "UnrecognizedClientException": "InvalidClientTokenId",
}


class Sqs:
    """Answers SQS calls.

    Args:
        queues: The queues.
        url: Returns the URL of the emulator, with which queue URLs begin.
    """

    request_id_header = "x-amzn-RequestId"
    missing_signature = Refusal(
        403, "MissingAuthenticationToken", "Request is missing Authentication Token"
    )
    access_denied = Refusal(403, "AccessDeniedException", "Access to the resource is denied.")
    malformed_body = "SerializationException"
    signature_refusals = CommonSignatureRefusals()

    def __init__(self, queues: Queues, url: Callable[[], str]) -> None:
        self._queues = queues
        self._url = url
        self._actions: dict[str, Callable[[Input], Any]] = {
            "CreateQueue": self._create_queue,
            "DeleteQueue": self._delete_queue,
            "ListQueues": self._list_queues,
            "GetQueueUrl": self._get_queue_url,
            "GetQueueAttributes": self._get_queue_attributes,
            "SetQueueAttributes": self._set_queue_attributes,
            "PurgeQueue": self._purge_queue,
            "SendMessage": self._send_message,
            "SendMessageBatch": self._send_message_batch,
            "ReceiveMessage": self._receive_message,
            "DeleteMessage": self._delete_message,
            "DeleteMessageBatch": self._delete_message_batch,
            "ChangeMessageVisibility": self._change_visibility,
            "ChangeMessageVisibilityBatch": self._change_visibility_batch,
        }

    def queue_url(self, name: str) -> str:
        """Return the URL of a queue."""
        return f"{self._url()}/{ACCOUNT}/{name}"

    def read_call(self, request: HttpRequest) -> Call:
        """Return the call that a request makes."""
        return read_call(request)

    def answer(self, request: HttpRequest) -> ServiceResponse:
        """Answer a signed request."""
        operation = request.headers.get("x-amz-target", "").removeprefix("AmazonSQS.")
        action = self._actions.get(operation)
        if action is None:
            raise Refusal(400, "UnsupportedOperation", f"The emulator does not play {operation!r}.")
        try:
            asked = orjson.loads(request.body.read() or b"{}")
        except orjson.JSONDecodeError:
            asked = None
        if not isinstance(asked, dict):
            raise Refusal(400, "SerializationException", "The body is not a JSON object.")
        result = action(asked)
        return self._later(result) if isinstance(result, Awaitable) else _response(result)

    @staticmethod
    async def _later(result: Awaitable[Any]) -> HttpResponse:
        return _response(await result)

    def refuse(self, request: HttpRequest, refusal: Refusal) -> HttpResponse:
        """Answer with an error in SQS's shape."""
        del request
        headers = {"Content-Type": "application/x-amz-json-1.0"}
        side = "Sender" if refusal.status < 500 else "Receiver"
        headers["x-amzn-query-error"] = f"{_QUERY_CODES.get(refusal.code, refusal.code)};{side}"
        body = {"__type": f"com.amazonaws.sqs#{refusal.code}", "message": refusal.message}
        return HttpResponse(refusal.status, headers, orjson.dumps(body))

    # Queues

    def _create_queue(self, asked: Input) -> Input:
        name = text(asked, "QueueName")
        attributes = settable(asked)
        known = self._queues.by_name.get(name)
        if known is not None:
            has = {**DEFAULTS, **known.attributes}
            if any(has.get(k) != v for k, v in attributes.items()):
                raise Refusal(400, "QueueNameExists", f"Queue {name} exists with other attributes.")
            return {"QueueUrl": self.queue_url(name)}
        try:
            queue = self._queues.create(name)
        except ValueError:
            raise Refusal(
                400,
                "InvalidParameterValue",
                "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in "
                "length (FIFO queues are not emulated).",
            ) from None
        _set(queue, attributes)
        return {"QueueUrl": self.queue_url(name)}

    def _delete_queue(self, asked: Input) -> None:
        del self._queues.by_name[self._queue(asked).name]

    def _list_queues(self, asked: Input) -> Input:
        prefix = text(asked, "QueueNamePrefix") if asked.get("QueueNamePrefix") else ""
        names = sorted(n for n in self._queues.by_name if n.startswith(prefix))
        return {"QueueUrls": [self.queue_url(n) for n in names[:1000]]}

    def _get_queue_url(self, asked: Input) -> Input:
        return {"QueueUrl": self.queue_url(self._named(text(asked, "QueueName")).name)}

    def _get_queue_attributes(self, asked: Input) -> Input:
        queue = self._queue(asked)
        visible, in_flight, delayed = queue.messages.counts(self._queues.clock.now())
        every = {
            "QueueArn": queue.arn,
            "ApproximateNumberOfMessages": str(visible),
            "ApproximateNumberOfMessagesNotVisible": str(in_flight),
            "ApproximateNumberOfMessagesDelayed": str(delayed),
            "CreatedTimestamp": str(int(queue.created)),
            **DEFAULTS,
            **queue.attributes,
        }
        names = texts(asked, "AttributeNames")
        wanted = every if "All" in names else {n: every[n] for n in names if n in every}
        return {"Attributes": wanted}

    def _set_queue_attributes(self, asked: Input) -> None:
        _set(self._queue(asked), settable(asked))

    def _purge_queue(self, asked: Input) -> None:
        self._queue(asked).messages.purge()

    def _queue(self, asked: Input) -> PolledQueue:
        return self._named(text(asked, "QueueUrl").rpartition("/")[2])

    def _named(self, name: str) -> PolledQueue:
        queue = self._queues.by_name.get(name)
        if queue is None:
            raise Refusal(400, "QueueDoesNotExist", "The specified queue does not exist.")
        return queue

    # Messages

    def _send_message(self, asked: Input) -> Input:
        return send(self._queue(asked), asked)

    def _send_message_batch(self, asked: Input) -> Input:
        queue = self._queue(asked)
        batch = entries(asked)
        size = sum(len(str(e.get("MessageBody", "")).encode()) for e in batch)
        if size > MESSAGE_BYTES:
            raise Refusal(
                400,
                "BatchRequestTooLong",
                f"Batch requests cannot be longer than {MESSAGE_BYTES} bytes. "
                f"You have sent {size} bytes.",
            )
        return self._each("SendMessageBatch", queue, batch, send)

    async def _receive_message(self, asked: Input) -> Input:
        queue = self._queue(asked)
        max_messages = number(asked, "MaxNumberOfMessages", 1, limits.SQS_BATCH_ENTRIES, default=1)
        default_wait = int(queue.attributes.get("ReceiveMessageWaitTimeSeconds", "0"))
        wait = number(
            asked, "WaitTimeSeconds", 0, limits.SQS_LONG_POLL_SECONDS, default=default_wait
        )
        visibility = None
        if asked.get("VisibilityTimeout") is not None:
            visibility = number(asked, "VisibilityTimeout", 0, VISIBILITY_SECONDS, default=0)
        system = {*texts(asked, "MessageSystemAttributeNames"), *texts(asked, "AttributeNames")}
        custom = texts(asked, "MessageAttributeNames")
        taken = await queue.receive(max_messages, wait=wait, visibility=visibility)
        if not taken:
            return {}
        return {"Messages": [shown(message, system, custom) for message in taken]}

    def _delete_message(self, asked: Input) -> None:
        delete(self._queue(asked), asked)

    def _delete_message_batch(self, asked: Input) -> Input:
        queue = self._queue(asked)
        return self._each("DeleteMessageBatch", queue, entries(asked), delete)

    def _change_visibility(self, asked: Input) -> None:
        self._change(self._queue(asked), asked)

    def _change_visibility_batch(self, asked: Input) -> Input:
        operation, queue = "ChangeMessageVisibilityBatch", self._queue(asked)
        return self._each(operation, queue, entries(asked), self._change)

    def _each(
        self,
        operation: str,
        queue: PolledQueue,
        batch: list[Input],
        action: Callable[[PolledQueue, Input], Input | None],
    ) -> Input:
        faults = self._queues.faults

        def apply(entry: Input) -> Input | None:
            refusal = faults.entry(Call("sqs", operation, queue.name, id=entry["Id"]))
            if refusal is not None:
                raise refusal
            return action(queue, entry)

        return each(batch, apply)

    def _change(self, queue: PolledQueue, entry: Input) -> None:
        if entry.get("VisibilityTimeout") is None:
            raise Refusal(400, "MissingParameter", "VisibilityTimeout is required.")
        seconds = number(entry, "VisibilityTimeout", 0, VISIBILITY_SECONDS, default=0)
        receipt = text(entry, "ReceiptHandle")
        try:
            changed = queue.messages.change_visibility(
                receipt, seconds, now=self._queues.clock.now()
            )
        except ValueError:
            raise bad_receipt() from None
        if not changed:
            raise Refusal(
                400,
                "InvalidParameterValue",
                f"Value {receipt} for parameter ReceiptHandle is invalid. Reason: Message does not "
                "exist or is not available for visibility timeout change.",
            )
        # A waiting receiver must learn the new time, or take the message at once.
        queue.changed()


def _response(result: Any) -> HttpResponse:
    body = b"{}" if result is None else orjson.dumps(result)
    return HttpResponse(200, {"Content-Type": "application/x-amz-json-1.0"}, body)


def _set(queue: PolledQueue, attributes: dict[str, str]) -> None:
    queue.attributes.update(attributes)
    has = {**DEFAULTS, **queue.attributes}
    queue.messages.visibility = float(has["VisibilityTimeout"])
    queue.messages.retention = float(has["MessageRetentionPeriod"])
