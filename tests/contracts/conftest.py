"""The servers that both transports are held against, the transports, and the doubles of the tests.

A contract that a double of ``tests/doubles.py`` implements takes the fixture ``s3``, ``sqs`` or
``runtime``, which stands for the transports at their servers and for the double in turn.
"""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pytest

from dispatcher.aws.objects import IncomingObject, MultipartUpload
from dispatcher.aws.requests import (
    InvokeRequest,
    InvokeResponse,
    Location,
    PutOptions,
    SqsMessage,
)
from dispatcher.aws.session import Access
from dispatcher.aws.transport import Transport, open_transport
from dispatcher.config.settings import AwsSettings, EmulatorSettings
from dispatcher.emulator.server import Emulator
from dispatcher.errors import CallError, Denied
from tests.doubles import FakeObjects, FakeQueue, FakeRuntime

MOTO = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
server.start()
print(*server.get_host_and_port(), flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Place:
    """A server, and whom it knows.

    Attributes:
        name: ``emulator``, which verifies signatures, or ``moto``.
        access: Where it is.
    """

    name: str
    access: Access

    def connect(
        self,
        transport: str,
        *,
        key_id: str | None = None,
        url: str | None = None,
        region: str | None = None,
    ) -> AbstractAsyncContextManager[Transport]:
        """Open a transport to it; by default as whom it knows."""
        access = replace(
            self.access,
            access_key_id=key_id or self.access.access_key_id,
            region=region or self.access.region,
            endpoint_url=url or self.access.endpoint_url,
        )
        settings = AwsSettings.model_validate({"transport": transport})
        return open_transport(settings, connections=16, access=access)


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "BOTO_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture(scope="session")
def moto() -> Iterator[Place]:
    """Start moto's server in a process of its own: it changes botocore where it is imported."""
    process = subprocess.Popen(
        [sys.executable, "-c", MOTO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        host, port = process.stdout.readline().split()
        yield Place(
            "moto",
            Access(
                endpoint_url=f"http://{host}:{port}",
                region="us-east-1",
                access_key_id="moto",
                secret_access_key="moto",
            ),
        )
        process.stdin.close()
        process.kill()


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    settings = EmulatorSettings.model_validate({"service_time": 0, "verify_signatures": True})
    async with Emulator(settings, endpoints=["churn"]) as made:
        yield made


def place_of(emulator: Emulator) -> Place:
    access = Access(
        endpoint_url=emulator.url,
        region=emulator.region,
        access_key_id=emulator.access_key_id,
        secret_access_key=emulator.secret_access_key,
    )
    return Place("emulator", access)


@pytest.fixture
def boxed(emulator: Emulator) -> Place:
    """Return the emulator, for what nothing else plays."""
    return place_of(emulator)


@pytest.fixture(params=["emulator", "moto"])
async def place(request: pytest.FixtureRequest, moto: Place, emulator: Emulator) -> Place:
    return moto if request.param == "moto" else place_of(emulator)


@pytest.fixture(params=["direct", "aioboto3"])
def transport_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def transport(place: Place, transport_name: str) -> AsyncIterator[Transport]:
    async with place.connect(transport_name) as opened:
        assert opened.name == transport_name
        yield opened


@pytest.fixture
async def bucket(transport: Transport) -> str:
    """Make a bucket."""
    name = f"contract-{uuid4().hex}"
    await transport.clients.s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
async def queue_url(transport: Transport) -> str:
    """Make a queue."""
    made: dict[str, Any] = await transport.clients.sqs.create_queue(QueueName=f"q-{uuid4().hex}")
    url: str = made["QueueUrl"]
    return url


class ObjectCalls(Protocol):
    """The calls to objects that rooms make."""

    async def put(self, location: Location, body: bytes, content_type: str) -> None: ...
    async def upload(
        self, location: Location, content_type: str, options: PutOptions
    ) -> MultipartUpload: ...
    async def abort_uploads(self, location: Location) -> None: ...
    def open(self, location: Location) -> AbstractAsyncContextManager[IncomingObject]: ...
    async def exists(self, location: Location) -> bool | None: ...
    async def size(self, location: Location) -> int | None: ...
    async def page(self, folder: Location) -> set[str]: ...
    async def delete(self, location: Location) -> None: ...


class QueueCalls(Protocol):
    """The calls to a queue that rooms make."""

    async def receive(self, *, wait: int | None = None) -> list[SqsMessage]: ...
    async def delete(self, receipts: Sequence[str]) -> Mapping[int, CallError]: ...
    async def send(self, bodies: Sequence[str]) -> Mapping[int, CallError]: ...
    async def change_visibility(
        self, changes: Sequence[tuple[str, int]]
    ) -> Mapping[int, CallError]: ...
    async def attributes(self) -> Mapping[str, str] | None: ...


@dataclass(frozen=True)
class S3:
    """S3 with one bucket.

    Attributes:
        objects: The calls that are held by the contract.
        bucket: The name of the bucket.
        body_of: Reads an object by its key as another client does.
        uploads: Returns the keys of the uploads under way.
    """

    objects: ObjectCalls
    bucket: str
    body_of: Callable[[str], Awaitable[bytes]]
    uploads: Callable[[], Awaitable[list[str]]]


@dataclass(frozen=True)
class RuntimeCalls:
    """InvokeEndpointAsync for an endpoint whose model returns its input.

    Attributes:
        invoke: The call that is held by the contract.
        payloads: Waits until nothing is under way; returns what was accepted, by output key.
    """

    invoke: Callable[[InvokeRequest], Awaitable[InvokeResponse]]
    payloads: Callable[[], Awaitable[Mapping[str, bytes]]]


SERVED = ["emulator-direct", "emulator-aioboto3", "moto-direct", "moto-aioboto3"]


@asynccontextmanager
async def served(name: str, moto: Place, emulator: Emulator) -> AsyncIterator[Transport]:
    """Open a transport at a server, both by name."""
    server, _, transport = name.partition("-")
    place = moto if server == "moto" else place_of(emulator)
    async with place.connect(transport) as opened:
        yield opened


@pytest.fixture(params=[*SERVED, "double"])
async def s3(request: pytest.FixtureRequest, moto: Place, emulator: Emulator) -> AsyncIterator[S3]:
    if request.param == "double":
        double = FakeObjects()

        async def fake_body(key: str) -> bytes:
            return double.objects[f"s3://contract/{key}"][0]

        async def fake_uploads() -> list[str]:
            return [upload.location.key for upload in double.uploads]

        yield S3(double, "contract", fake_body, fake_uploads)
        return
    async with served(request.param, moto, emulator) as transport:
        bucket, client = f"contract-{uuid4().hex}", transport.clients.s3
        await client.create_bucket(Bucket=bucket)

        async def body_of(key: str) -> bytes:
            body: bytes = await (await client.get_object(Bucket=bucket, Key=key))["Body"].read()
            return body

        async def uploads() -> list[str]:
            listed = await client.list_multipart_uploads(Bucket=bucket)
            return [upload["Key"] for upload in listed.get("Uploads", ())]

        yield S3(transport.objects, bucket, body_of, uploads)


@pytest.fixture(params=[*SERVED, "double"])
async def sqs(
    request: pytest.FixtureRequest, moto: Place, emulator: Emulator
) -> AsyncIterator[QueueCalls]:
    if request.param == "double":
        yield FakeQueue()
        return
    async with served(request.param, moto, emulator) as transport:
        made = await transport.clients.sqs.create_queue(QueueName=f"q-{uuid4().hex}")
        yield transport.queue(made["QueueUrl"])


@pytest.fixture(params=["direct", "aioboto3", "double"])
async def exact_sqs(request: pytest.FixtureRequest, boxed: Place) -> AsyncIterator[QueueCalls]:
    """A queue that plays what moto does not."""
    if request.param == "double":
        yield FakeQueue()
        return
    async with boxed.connect(request.param) as transport:
        made = await transport.clients.sqs.create_queue(QueueName=f"q-{uuid4().hex}")
        yield transport.queue(made["QueueUrl"])


@pytest.fixture(params=["direct", "aioboto3", "double"])
async def runtime(
    request: pytest.FixtureRequest, boxed: Place, emulator: Emulator
) -> AsyncIterator[RuntimeCalls]:
    if request.param == "double":
        double = FakeRuntime()

        async def accepted() -> Mapping[str, bytes]:
            return {at: request.body or b"" for at, request in double.accepted.items()}

        yield RuntimeCalls(double.invoke, accepted)
        return
    async with boxed.connect(request.param) as transport:

        async def outputs() -> Mapping[str, bytes]:
            await emulator.idle()
            return emulator.objects(emulator.output_bucket)

        yield RuntimeCalls(transport.runtime.invoke, outputs)


Verdict = tuple[type[Exception], str]


async def verdict(awaited: Awaitable[object]) -> Verdict:
    """Return the class and the code of the error that something awaited ends with."""
    try:
        answer = await awaited
    except (CallError, Denied) as error:
        return type(error), error.code
    raise AssertionError(f"no error, but {answer!r}")
