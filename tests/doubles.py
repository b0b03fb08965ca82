"""Doubles of the service in memory: objects in S3, an SQS queue and InvokeEndpointAsync.

They take the faults that a test lists, and pass the contract suites of the real transports
(``tests/contracts``) for the calls that they implement.
"""

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from dispatcher import limits
from dispatcher.aws.error_mapping import by_code
from dispatcher.aws.requests import (
    PLAIN,
    InvokeRequest,
    InvokeResponse,
    Location,
    PutOptions,
    SqsMessage,
    check_invocation,
)
from dispatcher.emulator.http.message import Refusal
from dispatcher.emulator.sagemaker import invocation
from dispatcher.emulator.sagemaker.call import HEADER
from dispatcher.emulator.sqs.messages import FORBIDDEN
from dispatcher.emulator.sqs.queue import MessageQueue
from dispatcher.errors import CallError, Denied, NotThere, Rejected, Transient
from tests.virtual_time import now

Fault = CallError | Denied
Reply = Fault | Callable[[InvokeRequest], Awaitable[None]] | None

STALE = Rejected("stale", code="InvalidParameterValue")
"""The refusal of a receipt whose message is gone or has been received again."""


def raise_next(faults: list[Fault | None]) -> None:
    """Take the next fault of a script, and raise it if it is one."""
    if faults and (fault := faults.pop(0)) is not None:
        raise fault


def refused(refusal: Refusal, doing: str) -> Exception:
    """Return the error that the seam to AWS makes of a refusal."""
    return by_code(refusal.code, refusal.status, refusal.message or "", action=doing)


def invocation_headers(request: InvokeRequest) -> dict[str, str]:
    """Return the headers that carry an invocation's parameters, by lower-case name."""
    parameters = {
        "content-type": request.content_type,
        "accept": request.accept,
        "custom-attributes": request.custom_attributes,
        "inference-id": request.inference_id,
        "s3outputpathextension": request.output_extension,
        "filename": request.filename,
        "inputlocation": request.input_location,
        "requestttlseconds": request.ttl,
        "invocationtimeoutseconds": request.timeout,
    }
    return {HEADER + name: str(value) for name, value in parameters.items() if value is not None}


# S3


@dataclass
class FakeIncoming:
    """An object that is being read; the faults come before its bytes."""

    size: int
    content_type: str | None
    body: bytes
    faults: list[Fault | None]

    async def read(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        raise_next(self.faults)
        return self.body

    def close(self) -> None:
        """There is nothing to close."""


@dataclass(eq=False)
class FakeUpload:
    """An object in parts; each part takes one fault of ``part_faults``."""

    objects: "FakeObjects"
    location: Location
    content_type: str
    parts: dict[int, bytes] = field(default_factory=dict)

    async def part(self, number: int, body: bytes) -> None:
        await anyio.sleep(self.objects.seconds)
        raise_next(self.objects.part_faults)
        self.parts[number] = body

    async def complete(self) -> None:
        await anyio.sleep(self.objects.seconds)
        if self not in self.objects.uploads:
            raise Transient("no such upload", code="NoSuchUpload")
        body = b"".join(self.parts[number] for number in sorted(self.parts))
        self.objects.objects[str(self.location)] = body, self.content_type
        self.objects.uploads.remove(self)

    async def abort(self) -> None:
        await anyio.sleep(self.objects.seconds)
        if self in self.objects.uploads:
            self.objects.uploads.remove(self)
            self.objects.aborted += 1


@dataclass
class FakeObjects:
    """The calls of ``dispatcher.aws.objects.Objects``; each kind raises its faults first.

    Attributes:
        objects: Body and content type by location.
        seconds: How long a write takes.
        is_visible: Whether HEAD shows an object; if not, it cannot be seen whether one is there.
        options: What each write asked for.
        puts: How many objects were put at once.
        uploads: Those under way.
        aborted: How many uploads were aborted.
        opened, looks, pages, deletes: The locations of these calls, in order.
        put_faults, part_faults, open_faults, read_faults, look_faults, page_faults, delete_faults:
            The errors of the next calls of the kind; None: the call goes well.
    """

    objects: dict[str, tuple[bytes, str | None]] = field(default_factory=dict)
    seconds: float = 0.0
    is_visible: bool = True
    options: list[PutOptions] = field(default_factory=list)
    puts: int = 0
    uploads: list[FakeUpload] = field(default_factory=list)
    aborted: int = 0
    opened: list[str] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    deletes: list[str] = field(default_factory=list)
    put_faults: list[Fault | None] = field(default_factory=list)
    part_faults: list[Fault | None] = field(default_factory=list)
    open_faults: list[Fault | None] = field(default_factory=list)
    read_faults: list[Fault | None] = field(default_factory=list)
    look_faults: list[Fault | None] = field(default_factory=list)
    page_faults: list[Fault | None] = field(default_factory=list)
    delete_faults: list[Fault | None] = field(default_factory=list)

    async def put(
        self, location: Location, body: bytes, content_type: str, options: PutOptions = PLAIN
    ) -> None:
        self.puts += 1
        self.options.append(options)
        await anyio.sleep(self.seconds)
        raise_next(self.put_faults)
        self.objects[str(location)] = body, content_type

    async def upload(
        self, location: Location, content_type: str, options: PutOptions
    ) -> FakeUpload:
        self.options.append(options)
        upload = FakeUpload(self, location, content_type)
        self.uploads.append(upload)
        return upload

    async def abort_uploads(self, location: Location) -> None:
        for upload in [upload for upload in self.uploads if upload.location == location]:
            await upload.abort()

    @asynccontextmanager
    async def open(self, location: Location) -> AsyncIterator[FakeIncoming]:
        self.opened.append(str(location))
        await anyio.lowlevel.checkpoint()
        raise_next(self.open_faults)
        if str(location) not in self.objects:
            raise NotThere("no such object", code="NoSuchKey")
        body, content_type = self.objects[str(location)]
        yield FakeIncoming(len(body), content_type, body, self.read_faults)

    async def exists(self, location: Location) -> bool | None:
        try:
            return None if await self.size(location) is None else True
        except NotThere:
            return False

    async def size(self, location: Location) -> int | None:
        self.looks.append(str(location))
        await anyio.lowlevel.checkpoint()
        raise_next(self.look_faults)
        if not self.is_visible:
            return None
        if str(location) not in self.objects:
            raise NotThere("no such object", code="404")
        return len(self.objects[str(location)][0])

    async def page(self, folder: Location) -> set[str]:
        self.pages.append(str(folder))
        await anyio.lowlevel.checkpoint()
        raise_next(self.page_faults)
        bucket = f"s3://{folder.bucket}/"
        keys = sorted(at.removeprefix(bucket) for at in self.objects if at.startswith(str(folder)))
        return set(keys[: limits.S3_LIST_PAGE_KEYS])

    async def delete(self, location: Location) -> None:
        self.deletes.append(str(location))
        await anyio.sleep(self.seconds)
        raise_next(self.delete_faults)
        self.objects.pop(str(location), None)


# SQS


@dataclass
class FakeQueue:
    """The calls of ``dispatcher.aws.queue.Queue`` to a queue of the emulator.

    Attributes:
        visibility: Seconds for which a received message is hidden.
        url: Its URL.
        messages: The messages.
        wrong: By call: the errors of the next calls, or of entries of them; None succeeds.
        calls: Each call and how many entries it carried.
        extra_attributes: Attributes besides the counts; None: they may not be read.
        polls: How many receives are waiting now.
    """

    visibility: int = 30
    url: str = "https://sqs.eu-west-1.amazonaws.com/1/queue"
    messages: MessageQueue = field(default_factory=MessageQueue)
    wrong: dict[str, list[CallError | dict[int, CallError] | None]] = field(default_factory=dict)
    calls: list[tuple[str, int]] = field(default_factory=list)
    extra_attributes: dict[str, str] | None = field(default_factory=dict)
    polls: int = 0
    _changed: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        self.messages.visibility = self.visibility

    def add(self, *bodies: str) -> None:
        """Put messages into it, as their sender does; their ids are made of their bodies."""
        for body in bodies:
            self.messages.send(body, message_id=f"id-{body}"[:50], now=now())
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _called(self, name: str, entries: int) -> dict[int, CallError]:
        self.calls.append((name, entries))
        await anyio.lowlevel.checkpoint()
        wrong = self.wrong.get(name)
        now_wrong = wrong.pop(0) if wrong else None
        if isinstance(now_wrong, CallError):
            raise now_wrong
        return dict(now_wrong or {})

    async def _batch(self, name: str, entries: Sequence[object]) -> dict[int, CallError]:
        """Call with entries; refuse as a whole what SQS refuses as a whole."""
        failed = await self._called(name, len(entries))
        if not entries:
            raise Rejected("no entries", code="AWS.SimpleQueueService.EmptyBatchRequest")
        if len(entries) > limits.SQS_BATCH_ENTRIES:
            raise Rejected("too many", code="AWS.SimpleQueueService.TooManyEntriesInBatchRequest")
        return failed

    async def receive(self, *, wait: int | None = None) -> list[SqsMessage]:
        await self._called("receive", 0)
        deadline = now() + (limits.SQS_LONG_POLL_SECONDS if wait is None else wait)
        self.polls += 1
        try:
            while not (taken := self.messages.receive(10, now=now())) and now() < deadline:
                wake = self.messages.next_wake()
                until = deadline if wake is None else min(deadline, wake)
                with anyio.move_on_after(until - now()):
                    await self._changed.wait()
        finally:
            self.polls -= 1
        return [SqsMessage(m.body, m.receipt, m.id) for m in taken]

    async def send(self, bodies: Sequence[str]) -> Mapping[int, CallError]:
        failed = await self._batch("send", bodies)
        if sum(len(body.encode()) for body in bodies) > limits.SQS_BATCH_BYTES:
            raise Rejected("too long", code="AWS.SimpleQueueService.BatchRequestTooLong")
        for index, body in enumerate(bodies):
            if FORBIDDEN.search(body):
                failed[index] = Rejected("characters", code="InvalidMessageContents")
            if index not in failed:
                self.add(body)
        return failed

    async def delete(self, receipts: Sequence[str]) -> Mapping[int, CallError]:
        failed = await self._batch("delete", receipts)
        for index, receipt in enumerate(receipts):
            if index not in failed:
                try:
                    self.messages.delete(receipt)
                except ValueError:
                    failed[index] = Rejected("no receipt", code="ReceiptHandleIsInvalid")
        return failed

    async def change_visibility(
        self, changes: Sequence[tuple[str, int]]
    ) -> Mapping[int, CallError]:
        failed = await self._batch("change_visibility", changes)
        for index, (receipt, seconds) in enumerate(changes):
            if index in failed:
                continue
            try:
                if not self.messages.change_visibility(receipt, seconds, now=now()):
                    failed[index] = STALE
            except ValueError:
                failed[index] = Rejected("no receipt", code="ReceiptHandleIsInvalid")
        self._wake()
        return failed

    async def attributes(self) -> Mapping[str, str] | None:
        await self._called("attributes", 0)
        if self.extra_attributes is None:
            return None
        visible, hidden, delayed = self.messages.counts(now())
        return {
            "VisibilityTimeout": str(self.visibility),
            "MaximumMessageSize": str(limits.SQS_BATCH_BYTES),
            "MessageRetentionPeriod": str(int(self.messages.retention)),
            "ApproximateNumberOfMessages": str(visible),
            "ApproximateNumberOfMessagesNotVisible": str(hidden),
            "ApproximateNumberOfMessagesDelayed": str(delayed),
        } | self.extra_attributes


@dataclass
class ScriptedQueue:
    """A queue whose receives are a script: it delivers the batches in turn, then stays silent.

    Its receipts are numbered, so that a test can say which message was deleted.
    """

    batches: list[list[str] | Fault] = field(default_factory=list)
    deleted: list[list[str]] = field(default_factory=list)
    faults: list[Fault | None] = field(default_factory=list)
    received: int = 0
    waits: list[int | None] = field(default_factory=list)

    async def receive(self, *, wait: int | None = None) -> list[SqsMessage]:
        await anyio.lowlevel.checkpoint()
        self.waits.append(wait)
        if not self.batches:
            await anyio.sleep_forever()
        batch = self.batches.pop(0)
        if isinstance(batch, Exception):
            raise batch
        messages = []
        for body in batch:
            messages.append(SqsMessage(body, f"receipt-{self.received}", "id"))
            self.received += 1
        return messages

    async def delete(self, receipts: Sequence[str]) -> list[str]:
        await anyio.lowlevel.checkpoint()
        raise_next(self.faults)
        self.deleted.append(list(receipts))
        return []


# InvokeEndpointAsync


@dataclass
class FakeRuntime:
    """InvokeEndpointAsync: checks a call as the service does, and replies as the script says.

    Attributes:
        script: The replies to the next calls: an error, what it waits for, or None: accepted.
        always: The reply once the script has ended.
        seconds: How long a call takes.
        requests: Every call.
        accepted: Those that were accepted, by output location.
        on_wire, max_on_wire: Calls under way now, and the most at once.
    """

    script: list[Reply] = field(default_factory=list)
    requests: list[InvokeRequest] = field(default_factory=list)
    always: CallError | None = None
    seconds: float = 0.0
    accepted: dict[str, InvokeRequest] = field(default_factory=dict)
    on_wire: int = 0
    max_on_wire: int = 0

    async def invoke(self, request: InvokeRequest) -> InvokeResponse:
        check_invocation(request)
        self.requests.append(request)
        self.on_wire += 1
        self.max_on_wire = max(self.max_on_wire, self.on_wire)
        try:
            await anyio.sleep(self.seconds)
            reply = self.script.pop(0) if self.script else self.always
            if isinstance(reply, Exception):
                raise reply
            if reply is not None:
                await reply(request)
            try:
                invocation.check(invocation_headers(request), len(request.body or b""))
            except Refusal as refusal:
                raise refused(refusal, "invoking") from None
        finally:
            self.on_wire -= 1
        name = f"{request.output_extension}/{request.filename}"
        output = f"s3://out/results/{name}"
        self.accepted[output] = request
        return InvokeResponse(output, f"s3://out/failures/{name}")
