"""The servers that both transports are held against, and the transports."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from dispatcher.aws.session import Access
from dispatcher.aws.transport import Transport, open_transport
from dispatcher.config.settings import AwsSettings, EmulatorSettings
from dispatcher.emulator.server import Emulator
from dispatcher.errors import CallError, Denied

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
        yield Place("moto", Access(f"http://{host}:{port}", "us-east-1", "moto", "moto"))
        process.stdin.close()
        process.kill()


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    settings = EmulatorSettings.model_validate({"service_time": 0, "verify_signatures": True})
    async with Emulator(settings, endpoints=["churn"]) as made:
        yield made


def place_of(emulator: Emulator) -> Place:
    access = Access(
        emulator.url, emulator.region, emulator.access_key_id, emulator.secret_access_key
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


Verdict = tuple[type[Exception], str]


async def verdict(awaited: Awaitable[object]) -> Verdict:
    """Return the class and the code of the error that something awaited ends with."""
    try:
        answer = await awaited
    except (CallError, Denied) as error:
        return type(error), error.code
    raise AssertionError(f"no error, but {answer!r}")
