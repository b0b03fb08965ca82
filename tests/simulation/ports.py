"""The calls of one process to the service: in memory, slow, and with faults."""

import asyncio
import inspect
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from dispatcher import limits
from dispatcher.aws.objects import IncomingObject, MultipartUpload, Objects
from dispatcher.aws.queue import Queue
from dispatcher.aws.requests import (
    PLAIN,
    InvokeRequest,
    InvokeResponse,
    PutOptions,
    check_invocation,
)
from dispatcher.aws.transport import Transport
from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.http.blob import Blob
from dispatcher.emulator.http.message import Refusal
from dispatcher.emulator.s3.listing import list_page
from dispatcher.emulator.s3.store import MemoryObjects, StoredObject
from dispatcher.emulator.sagemaker.call import INVOKE
from dispatcher.errors import (
    CallError,
    Denied,
    NotThere,
    OutcomeUnknown,
    Rejected,
    ServiceFailed,
    Throttled,
    Transient,
)
from tests.doubles import refused
from tests.simulation.chance import Chance
from tests.simulation.cloud import OUTPUT, Cloud
from tests.simulation.container import numbers_in, records_in
from tests.simulation.history import (
    Answer,
    Answered,
    Called,
    Deleted,
    Delivered,
    Dropped,
    Looked,
    Missed,
    Polled,
    Received,
    Removed,
    Sent,
    Sink,
    Undeleted,
    Unstaged,
)
from tests.simulation.machine import Killed, Machine, Process
from tests.simulation.scenario import STAGING, Service


class Ports:
    """The only way of a process to the world, until it dies.

    Args:
        cloud: The service.
        machine: Where the process lives.
        process: Whose ports these are.
        chance: Its faults.
        service: How the service behaves.
        shows_missing: A missing object answers otherwise than one that may not be seen.
    """

    def __init__(
        self,
        cloud: Cloud,
        machine: Machine,
        process: Process,
        chance: Chance,
        service: Service,
        *,
        shows_missing: bool,
    ) -> None:
        self.cloud = cloud
        self.machine = machine
        self.process = process
        self.chance = chance
        self.shows_missing = shows_missing
        self._latency = service.latency
        self.heard: dict[str, str | None] = {}
        self.names: dict[str, int] = {}

    def transport(self) -> Transport:
        """Return the calls as the pipeline takes them."""

        async def bucket(name: str) -> _Bucket:
            return _Bucket(self, name)

        return Transport(
            name="simulated",
            clients=None,  # type: ignore[arg-type]  # nothing but the hot calls is made
            runtime=_Runtime(self),
            objects=Objects(bucket),
            queue=lambda url: Queue(url, _Sqs(self)),
        )

    def alive(self) -> None:
        if not self.process.is_alive:
            raise Killed

    async def way(self) -> None:
        """Take the time of a way, there or back."""
        self.alive()
        await asyncio.sleep(self._latency * self.chance.rng.random())
        self.alive()


class _Runtime:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def invoke(self, request: InvokeRequest) -> InvokeResponse:
        ports = self._ports
        ports.alive()
        check_invocation(request)
        id_ = request.inference_id
        stored = None
        if request.input_location is not None:
            bucket, _, key = request.input_location.removeprefix("s3://").partition("/")
            stored = ports.cloud.objects.get(bucket, key)
        payload = (
            request.body if request.body is not None else stored.blob.read() if stored else b""
        )
        ports.cloud.note(
            Called(
                id_,
                f"{request.output_extension}/{request.filename}" if request.filename else "",
                zlib.crc32(payload),
                None if request.body is None else len(request.body),
                request.input_location,
            )
        )
        if request.input_location is not None and stored is None:
            ports.cloud.note(Missed(id_, "call"))
        answer: Answer = "cancelled"
        try:
            ports.machine.reach("wire.left")
            accepted = await self._invoke(request, payload)
            answer = "accepted"
            ports.machine.reach("wire.answered")
            return accepted
        except Throttled:
            answer = "throttled"
            raise
        except Transient:
            answer = "transient"
            raise
        except OutcomeUnknown:
            answer = "unknown"
            raise
        except Rejected:
            answer = "rejected"
            raise
        except Denied:
            answer = "denied"
            raise
        finally:
            if ports.process.is_alive:
                ports.cloud.note(Answered(id_, answer))

    async def _invoke(self, request: InvokeRequest, payload: bytes) -> InvokeResponse:
        ports, chance = self._ports, self._ports.chance
        await ports.way()
        verdict = ports.cloud.faults.call(Call("sagemaker", INVOKE, "e", id=request.inference_id))
        if chance.strikes("connection_refused"):
            raise Transient("connection refused", code="ConnectionRefused")
        if chance.strikes("denied"):
            raise Denied("not authorized", code="AccessDeniedException")
        if verdict.reset == "before":
            raise OutcomeUnknown("reset", code="ConnectionReset")
        if verdict.refusal is not None:
            raise refused(verdict.refusal, "invoking")
        if any("poison" in record for record in records_in(payload, request.content_type)):
            raise Rejected("a poisonous record", code="ValidationError")
        if chance.strikes("late_arrival"):
            ports.cloud.loop.call_later(3 * chance.rng.random(), ports.cloud.take, request)
            raise OutcomeUnknown("reset", code="ConnectionReset")
        accepted = ports.cloud.take(request)
        await asyncio.sleep(verdict.delay)
        if chance.strikes("error_though_accepted"):
            raise ServiceFailed("InternalFailure", code="InternalFailure")
        if verdict.reset == "after":
            raise OutcomeUnknown("reset", code="ConnectionReset")
        await ports.way()
        return accepted


class _Object:
    def __init__(self, ports: Ports, stored: StoredObject) -> None:
        self._ports = ports
        self._stored = stored
        self.size = stored.blob.size
        self.content_type: str | None = stored.content_type

    async def read(self) -> bytes:
        await self._ports.way()
        if self._ports.chance.strikes("output_broken_off"):
            raise Transient("the connection broke", code="ConnectionReset")
        return self._stored.blob.read()

    def close(self) -> None:
        pass


class _Bucket:
    def __init__(self, ports: Ports, name: str) -> None:
        self._ports = ports
        self._name = name

    async def put(
        self, key: str, body: bytes, content_type: str, _options: PutOptions = PLAIN
    ) -> None:
        self._ports.cloud.staged[key] = numbers_in(body, content_type)
        async with self._staging("PutObject", key) as objects:
            objects.put(
                self._name,
                key,
                StoredObject(blob=Blob.of(body), etag="", content_type=content_type, modified=0.0),
            )

    async def get(self, key: str) -> IncomingObject:
        self._look(key)
        async with self._request("GetObject", key) as objects:
            stored = objects.get(self._name, key)
        if stored is None:
            raise self._missing(key)
        return _Object(self._ports, stored)

    async def upload(self, key: str, _content_type: str, _options: PutOptions) -> MultipartUpload:
        raise NotImplementedError(f"{key}: nothing is large here")

    async def abort_uploads(self, key: str) -> None:
        raise NotImplementedError(f"{key}: nothing is large here")

    async def head(self, key: str) -> int:
        self._look(key)
        async with self._staging("HeadObject", key) as objects:
            stored = objects.get(self._name, key)
        if stored is None:
            raise self._missing(key)
        return stored.blob.size

    async def page(self, prefix: str) -> set[str]:
        self._look(prefix)
        async with self._request("ListObjectsV2", "") as objects:
            if not self._ports.shows_missing:
                raise Denied(prefix, code="AccessDenied")
            found = list_page(
                objects.buckets[self._name].keys,
                prefix=prefix, delimiter="", after="", limit=limits.S3_LIST_PAGE_KEYS,
            )  # fmt: skip
        return set(found.keys)

    async def delete(self, key: str) -> None:
        """Delete an object of the bucket of payloads: nothing else is deleted."""
        location = f"s3://{self._name}/{key}"
        try:
            async with self._request("DeleteObject", key) as objects:
                if self._ports.chance.strikes("denied"):
                    raise Denied("not authorized", code="AccessDenied")
                objects.delete(self._name, key)
                self._ports.cloud.note(Removed(location))
        except (CallError, Denied):
            self._ports.cloud.note(Undeleted(location))
            raise

    def _missing(self, key: str) -> Exception:
        if self._ports.shows_missing:
            return NotThere(key, code="404")
        return Denied(key, code="403")

    def _look(self, key: str) -> None:
        self._ports.alive()
        if self._name == OUTPUT:
            self._ports.cloud.note(Looked(key))

    @asynccontextmanager
    async def _staging(self, operation: str, key: str) -> AsyncIterator[MemoryObjects]:
        """Go there and back; what fails in the bucket of payloads is a call that failed."""
        cloud = self._ports.cloud
        try:
            async with self._request(operation, key) as objects:
                yield objects
        except CallError:
            if self._name == STAGING:
                cloud.note(Unstaged(cloud.staged.get(key, ())))
            raise

    @asynccontextmanager
    async def _request(self, operation: str, key: str) -> AsyncIterator[MemoryObjects]:
        """Go there and back, around what S3 does."""
        ports = self._ports
        await ports.way()
        verdict = ports.cloud.faults.call(Call("s3", operation, f"{self._name}/{key}"))
        if verdict.refusal is not None:
            raise refused(verdict.refusal, operation)
        if ports.chance.strikes("s3_slow"):
            await asyncio.sleep(10 * ports.chance.rng.random())
        yield ports.cloud.objects
        await ports.way()
        if verdict.reset is not None:
            raise Transient("no answer", code="ConnectionReset")


class _Sqs:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def call(self, operation: str, doing: str, parameters: dict[str, Any]) -> Any:
        ports = self._ports
        queue = parameters["QueueUrl"].rpartition("/")[2]
        await ports.way()
        verdict = ports.cloud.faults.call(Call("sqs", operation, queue))
        if verdict.refusal is not None:
            raise refused(verdict.refusal, doing)
        if operation == "DeleteMessageBatch":
            self._note_deletions(queue, parameters["Entries"])
        try:
            answer = ports.cloud.sqs._actions[operation](parameters)
            if inspect.isawaitable(answer):
                answer = await answer
        except Refusal as refusal:
            raise refused(refusal, doing) from None
        if operation == "SendMessageBatch":
            self._note_sent(queue, parameters["Entries"], answer)
        await ports.way()
        if verdict.reset is not None:
            raise Transient("no answer", code="ConnectionReset")
        if operation == "ReceiveMessage":
            self._note_messages(queue, answer.get("Messages", ()))
        return answer

    def _note_messages(self, queue: str, messages: Sequence[dict[str, str]]) -> None:
        ports = self._ports
        for message in messages:
            receipt = message["ReceiptHandle"]
            if queue == "source":
                number = ports.names[receipt] = ports.cloud.number_of(message["MessageId"])
                ports.cloud.note(Delivered(number))
            else:
                id_ = ports.heard[receipt] = ports.cloud.invocation_of(message["Body"])
                ports.cloud.note(Received(receipt, id_))
        if queue != "source":
            ports.cloud.note(Polled(len(messages)))

    def _note_deletions(self, queue: str, entries: Sequence[dict[str, str]]) -> None:
        ports = self._ports
        for receipt in (entry["ReceiptHandle"] for entry in entries):
            if queue == "source":
                ports.cloud.note(Dropped(ports.names[receipt]))
            else:
                ports.cloud.note(Deleted(receipt, ports.heard.get(receipt)))

    def _note_sent(self, queue: str, entries: Sequence[dict[str, str]], answer: Any) -> None:
        sink: Sink = "results" if queue == "results" else "dead"
        done = {entry["Id"] for entry in answer.get("Successful", ())}
        bodies = [e["MessageBody"].encode() + b"\n" for e in entries if e["Id"] in done]
        lines = self._ports.machine.lines(sink, b"".join(bodies))
        self._ports.cloud.note(Sent(sink, lines))
