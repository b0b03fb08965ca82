"""A virtual clock, a raw HTTP client, and emulators and SDK clients as fixtures."""

import asyncio
import errno
import heapq
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import aioboto3
import pytest

from dispatcher.config.settings import EmulatorSettings, ServiceTime
from dispatcher.emulator.sagemaker.invocation import AcceptedInvocation
from dispatcher.emulator.server import Emulator

AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=emulator/20260101/us-east-1/{}/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=" + "0" * 64
)


class VirtualClock:
    """Time that passes only in ``advance``."""

    def __init__(self) -> None:
        self._now = 1_700_000_000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let time pass, waking each sleeper at its own moment."""
        until = self._now + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            when, _, future = heapq.heappop(self._sleepers)
            self._now = when
            if not future.done():
                future.set_result(None)
            await self._settle()
        self._now = until

    @staticmethod
    async def _settle() -> None:
        for _ in range(10):
            await asyncio.sleep(0)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """A raw HTTP/1.1 client that sends what a test wants, right or wrong."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(
        self,
        method: str,
        target: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        *,
        service: str = "s3",
    ) -> None:
        lines = {"Host": "localhost", "Authorization": AUTHORIZATION.format(service)}
        lines["Content-Length"] = str(len(body))
        lines.update(headers or {})
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)

    async def reply(self, *, head_only: bool = False) -> Reply:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        size = 0 if head_only else int(headers.get("content-length", "0"))
        body = await self.reader.readexactly(size)
        return Reply(int(head[0].split()[1]), headers, body)

    async def ask(
        self,
        method: str,
        target: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        *,
        service: str = "s3",
    ) -> Reply:
        self.send(method, target, headers, body, service=service)
        return await self.reply(head_only=method == "HEAD")

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def settled_polls(emulator: Emulator, queue: str, count: int) -> None:
    """Return once ``count`` receivers wait at a queue."""
    waiters = emulator._queues.by_name[queue]._waiters
    async with asyncio.timeout(5):
        while len(waiters) != count:  # noqa: ASYNC110 - the queue has no event for this
            await asyncio.sleep(0)


Connect = Callable[[str], Awaitable[Wire]]


@pytest.fixture
def waiting() -> Callable[[Emulator, str, int], Awaitable[None]]:
    return settled_polls


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], str]:
    """Make a function reachable as ``emulator.model``."""

    def make(function: Any) -> str:
        monkeypatch.setattr(f"{__name__}.chosen_model", function, raising=False)
        return f"{__name__}:chosen_model"

    return make


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def quick() -> EmulatorSettings:
    return EmulatorSettings(service_time=ServiceTime(median=0.0))


@pytest.fixture
async def emulator(quick: EmulatorSettings) -> AsyncIterator[Emulator]:
    async with Emulator(quick) as running:
        yield running


@pytest.fixture(scope="session")
def session() -> Any:
    # One for all tests: it keeps the service models, which take half a second to read.
    return aioboto3.Session(
        aws_access_key_id=Emulator.access_key_id,
        aws_secret_access_key=Emulator.secret_access_key,
        region_name=Emulator.region,
    )


@pytest.fixture
async def clients(emulator: Emulator, session: Any) -> AsyncIterator[dict[str, Any]]:
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(session.client(name, endpoint_url=emulator.url))
            for name in ("sqs", "sns", "s3")
        }


@pytest.fixture
def sqs(clients: dict[str, Any]) -> Any:
    return clients["sqs"]


@pytest.fixture
async def queue(sqs: Any) -> str:
    created = await sqs.create_queue(QueueName="q", Attributes={"MaximumMessageSize": "2048"})
    return str(created["QueueUrl"])


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    opened: list[Wire] = []

    async def connect(url: str) -> Wire:
        host, port = url.removeprefix("http://").split(":")
        opened.append(Wire(*await asyncio.open_connection(host, int(port), limit=2**24)))
        return opened[-1]

    yield connect
    for wire in opened:
        wire.writer.transport.abort()


@pytest.fixture
async def wire(emulator: Emulator, connect: Connect) -> Wire:
    return await connect(emulator.url)


@pytest.fixture
def make_invocation() -> Callable[..., AcceptedInvocation]:
    serials = itertools.count(1)

    def make(**given: Any) -> AcceptedInvocation:
        serial = next(serials)
        fields: dict[str, Any] = {
            "serial": serial,
            "endpoint": "emulated",
            "inference_id": f"id-{serial}",
            "body": b"{}",
            "input_location": None,
            "content_type": None,
            "accept": None,
            "custom_attributes": None,
            "output_key": f"emulated/output/{serial}.out",
            "failure_key": f"emulated/failure/{serial}-error.out",
            "ttl": 60,
            "timeout": 900,
            "received": 1_700_000_000.0,
        }
        return AcceptedInvocation(**{**fields, **given})

    return make


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """Let every write to a journal take half of its bytes and the next one fail."""

    @contextmanager
    def full() -> Iterator[None]:
        write = os.write
        calls = 0

        def half(fd: int, data: memoryview) -> int:
            nonlocal calls
            calls += 1
            if calls % 2:
                return write(fd, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr("dispatcher.emulator.state.journal.os.write", half)
            yield

    return full
