"""The stub's side of a connection: HTTP/1.1, and just enough of three services.

What makes it fast is what it leaves out: signatures are not verified, a body is measured and its
lines counted but never kept, and of a head only the fields that matter are looked for. Requests
are not pipelined by any client here, and bodies come with their length.
"""

import asyncio
import time
from functools import partial
from typing import Any, cast
from urllib.parse import parse_qs, unquote_to_bytes
from xml.sax.saxutils import escape

import orjson

from benchmarks.stub.service import BUCKET, QUEUE, Event, Poll, Service, output, output_type

_LENGTH = b"\r\ncontent-length:"
_EXPECT = b"\r\nexpect:"
_CHUNKED = b"\r\ntransfer-encoding:"
_TARGET = b"\r\nx-amz-target:"
_SAGEMAKER = b"\r\nx-amzn-sagemaker-"
_INFERENCE = _SAGEMAKER + b"inference-id:"
_INPUT = _SAGEMAKER + b"inputlocation:"
_TYPE = _SAGEMAKER + b"content-type:"
_EXTENSION = _SAGEMAKER + b"s3outputpathextension:"
_FILENAME = _SAGEMAKER + b"filename:"

_ACCEPTED = (
    b"HTTP/1.1 202 Accepted\r\n"
    b"x-amzn-RequestId: %08x-0000-4000-8000-%012x\r\n"
    b"X-Amzn-SageMaker-OutputLocation: s3://%b\r\n"
    b"X-Amzn-SageMaker-FailureLocation: s3://%b-error.out\r\n"
    b"Date: %b\r\n"
    b"Content-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n"
    b'{"InferenceId":"%b"}'
)
_ANSWER = (
    b"HTTP/1.1 %b\r\n"
    b"x-amz-request-id: %016X\r\n"
    b"Date: %b\r\n"
    b"%b"
    b"Content-Type: %b\r\n"
    b"Content-Length: %d\r\n\r\n"
)
_OBJECT = (
    b'ETag: "00000000000000000000000000000000"\r\n'
    b"Last-Modified: %b\r\n"
    b"Accept-Ranges: bytes\r\n"
    b"Server: AmazonS3\r\n"
)
_TO_QUEUE = b"POST / "
_STALE_SECONDS = 0.5
_JSON = b"application/x-amz-json-1.0"
_XML = b"application/xml"


class Connection(asyncio.Protocol):
    """One client connection."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._head = b""
        self._lower = b""
        self._where: dict[bytes, int] = {}
        self._left = 0
        self._size = 0
        self._breaks = 0
        self._kept: list[bytes] | None = None
        self._poll: Poll | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the interface
        self._transport = None
        if self._poll is not None:
            self._poll.answer = None  # its messages are for those who still listen

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        at = 0
        while at < len(data):
            if self._left:
                at = self._take(data, at)
            else:
                end = data.find(b"\r\n\r\n", at)
                if end < 0:
                    self._buffer = data[at:]
                    return
                self._begin(data[at : end + 2])
                at = end + 4
                if at == len(data) and self._waits_to_send():
                    self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if not self._left:
                self._answer()

    def _begin(self, head: bytes) -> None:
        self._head, self._lower = head, head.lower()
        self._size = self._left = int(self._field(_LENGTH) or 0)
        self._breaks = 0
        self._kept = [] if head.startswith(_TO_QUEUE) else None

    def _waits_to_send(self) -> bool:
        return self._left > 0 and bool(self._field(_EXPECT))

    def _take(self, data: bytes, at: int) -> int:
        """Take what there is of the body; return where it ends."""
        end = min(len(data), at + self._left)
        self._left -= end - at
        if self._kept is not None:
            self._kept.append(data[at:end])
        elif data.find(b"\n", at, end) >= 0:  # which is many times faster than counting none
            self._breaks += data.count(b"\n", at, end)
        return end

    def _field(self, name: bytes) -> bytes:
        """Return the value of a header field, or nothing."""
        at = self._where.get(name, 0)
        if not self._lower.startswith(name, at):
            if (at := self._lower.find(name)) < 0:
                return b""
            self._where[name] = at  # a client's heads are alike: look there first next time
        at += len(name)
        return self._head[at : self._head.find(b"\r", at)].strip()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _reply(
        self, status: bytes, body: bytes = b"", kind: bytes = _XML, fields: bytes = b""
    ) -> None:
        service = self._service
        head = _ANSWER % (status, service.number(), service.date, fields, kind, len(body))
        self._write(head + body)

    def _answer(self) -> None:
        method, target, _ = self._head.split(b" ", 2)
        service = self._service
        if target.startswith(b"/_stub/"):
            self._command(target.removeprefix(b"/_stub/"))
            self._reply(b"200 OK", orjson.dumps(service.stats()), b"application/json")
            return
        service.last = time.monotonic()
        if service.first is None:
            service.first = service.last
        if service.last - service.read_at > _STALE_SECONDS:
            service.read_clock()
        if target.startswith(b"/endpoints/"):
            self._invoke(target)
        elif self._kept is not None:
            self._queue(b"".join(self._kept))
        elif _CHUNKED in self._lower:
            self._reply(b"501 Not Implemented", b"<Error><Code>NotImplemented</Code></Error>")
        else:
            self._object(method, target)

    def _command(self, command: bytes) -> None:
        """Do what the harness asks; the counts are the answer to all of it."""
        name, _, argument = command.partition(b"/")
        match name:
            case b"reset":
                self._service.reset()
            case b"release":
                self._service.release()
            case b"redeliver":
                self._service.redeliver()
            case b"watch":
                self._service.watch(argument)

    def _invoke(self, target: bytes) -> None:
        service = self._service
        number = service.number()
        inference = self._field(_INFERENCE) or b"stub-%d" % number
        size, lines = self._size, self._breaks + 1
        if not size:
            source = self._field(_INPUT).removeprefix(b"s3://")
            size, lines = service.staged.get(source, (0, 0))
        if not size or b'"' in inference or b"\\" in inference:
            service.counts["refused"] += 1
            self._reply(
                b"400 Bad Request",
                b'{"Message":"neither a Body nor an InputLocation that is there"}',
                b"application/json",
                b"x-amzn-ErrorType: ValidationError\r\n",
            )
            return
        endpoint = target[len(b"/endpoints/") : -len(b"/async-invocations")]
        name = self._field(_FILENAME) or b"%08x-0000-4000-8000-%012x.out" % (number, number)
        extension = self._field(_EXTENSION)
        folder = b"%b/%b/%b" % (BUCKET, endpoint, extension) if extension else BUCKET
        place = b"%b/%b" % (folder, name)
        service.counts["bytes"] += size
        service.accept(Event(inference, endpoint, self._field(_TYPE), place, lines, service.stamp))
        self._write(
            _ACCEPTED
            % (
                number,
                number,
                place,
                place.removesuffix(b".out"),
                service.date,
                len(inference) + 18,
                inference,
            )
        )

    def _object(self, method: bytes, target: bytes) -> None:
        service = self._service
        path, _, query = target[1:].partition(b"?")
        place = unquote_to_bytes(path) if b"%" in path else path
        fields = _OBJECT % service.date
        if method == b"PUT":
            service.counts["puts"] += 1
            service.staged[place] = (self._size, self._breaks + 1)
            self._reply(b"200 OK", fields=fields)
        elif method == b"DELETE":
            service.staged.pop(place, None)
            self._reply(b"204 No Content")
        elif b"list-type=2" in query:
            service.counts["lists"] += 1
            self._reply(b"200 OK", self._listing(place.rstrip(b"/"), query))
        elif method == b"HEAD":
            self._look(place, fields)
        elif place in service.staged:
            self._reply(b"501 Not Implemented", b"<Error><Code>NotImplemented</Code></Error>")
        elif (lines := service.read(place)) is None:
            self._reply(
                b"404 Not Found",
                b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code>'
                b"<Message>The specified key does not exist.</Message></Error>",
            )
        else:
            self._reply(b"200 OK", output(lines), output_type(lines), fields)

    def _look(self, place: bytes, fields: bytes) -> None:
        service = self._service
        service.counts["heads"] += 1
        if (lines := service.outputs.get(place)) is not None:
            size = len(output(lines))
            head = _ANSWER % (
                b"200 OK",
                service.number(),
                service.date,
                fields,
                output_type(lines),
                size,
            )
            self._write(head)
        else:
            service.counts["not_there"] += 1
            self._reply(b"404 Not Found")

    def _listing(self, bucket: bytes, query: bytes) -> bytes:
        asked = parse_qs(query.decode())
        prefix = asked.get("prefix", [""])[0]
        start = b"%b/%b" % (bucket, prefix.encode())
        service = self._service
        places = [p for kept in (service.outputs, service.staged) for p in kept]
        keys = sorted(p[len(bucket) + 1 :].decode() for p in places if p.startswith(start))
        shown = keys[: int(asked.get("max-keys", ["1000"])[0])]
        contents = "".join(f"<Contents><Key>{escape(k)}</Key></Contents>" for k in shown)
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{escape(bucket.decode())}</Name><Prefix>{escape(prefix)}</Prefix>"
            f"<KeyCount>{len(shown)}</KeyCount>"
            f"<IsTruncated>{str(len(shown) < len(keys)).lower()}</IsTruncated>"
            f"{contents}</ListBucketResult>"
        ).encode()

    def _queue(self, body: bytes) -> None:
        asked: dict[str, Any] = orjson.loads(body)
        service = self._service
        say = partial(self._reply, b"200 OK", kind=_JSON)
        if not asked.get("QueueUrl", "").endswith(QUEUE):
            refusal = b'{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no such queue"}'
            self._reply(b"400 Bad Request", refusal, _JSON)
            return
        match self._field(_TARGET):
            case b"AmazonSQS.ReceiveMessage":
                most, wait = asked.get("MaxNumberOfMessages", 1), asked.get("WaitTimeSeconds", 0)
                self._poll = service.receive(most, wait, self._received)
            case b"AmazonSQS.DeleteMessageBatch":
                service.counts["deletes"] += 1
                for entry in asked["Entries"]:
                    service.delete(entry["ReceiptHandle"])
                done = [{"Id": entry["Id"]} for entry in asked["Entries"]]
                say(orjson.dumps({"Successful": done, "Failed": []}))
            case b"AmazonSQS.DeleteMessage":
                service.counts["deletes"] += 1
                service.delete(asked["ReceiptHandle"])
                say(b"{}")
            case b"AmazonSQS.GetQueueAttributes":
                arn = "arn:aws:sqs:us-east-1:000000000000:completions"
                say(orjson.dumps({"Attributes": {"QueueArn": arn}}))
            case other:
                refusal = b'{"__type":"com.amazonaws.sqs#UnsupportedOperation","message":"%b"}'
                self._reply(b"400 Bad Request", refusal % other, _JSON)

    def _received(self, document: bytes) -> None:
        self._poll = None
        self._service.last = time.monotonic()
        self._reply(b"200 OK", document, _JSON)
