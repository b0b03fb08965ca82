"""Scripted server for whole requests, and an environment without a real account."""

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import pytest
import trustme

from dispatcher.aws.session import Access
from dispatcher.aws.transport import Transport, open_transport
from dispatcher.config.settings import AwsSettings


@dataclass
class Request:
    """A request as it came over the wire; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Scripted = bytes | Literal["close", "reset", "silence"]
ScriptedResponse = Scripted | Callable[[Request], Scripted]


def response(status: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class WireServer:
    """Reads whole requests and responds with the next of ``responses``, or the last one again.

    ``close`` ends the connection without a response, ``reset`` tears it down, ``silence`` keeps it
    open and says nothing. A response that promises more bytes than it has is cut off after them. A
    function is asked for the response to each request.
    """

    url: str = ""
    responses: list[ScriptedResponse] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    @staticmethod
    def response(status: str, body: bytes = b"", **headers: str) -> bytes:
        return response(status, body, **headers)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        pairs = (line.split(":", 1) for line in head[1:] if line)
        headers = {name.lower(): value.strip() for name, value in pairs}
        if headers.get("expect") == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding") == "chunked":
            body = await _dechunked(reader)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append(Request(method, target, headers, body))
        reply = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
        if callable(reply):
            reply = reply(self.requests[-1])
        if reply == "silence":
            await self.ending.wait()
            return False
        if reply == "close":
            return False
        if reply == "reset":
            plug: socket.socket = writer.get_extra_info("socket")
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        writer.write(reply)
        await writer.drain()
        sent_head, _, sent_body = reply.partition(b"\r\n\r\n")
        promised = f"Content-Length: {len(sent_body)}\r\n".encode()
        has_no_body = method == "HEAD" or reply.startswith(b"HTTP/1.1 204 ")
        return has_no_body or promised in sent_head + b"\r\n"


async def _dechunked(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers
    return body


class Connect(Protocol):
    """Open a transport to the server, or to what the settings and the environment say."""

    def __call__(
        self, settings: AwsSettings = ..., *, connections: int = ..., access: Access | None = ...
    ) -> AbstractAsyncContextManager[Transport]: ...


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "BOTO_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@asynccontextmanager
async def _serving(made: WireServer, tls: ssl.SSLContext | None) -> AsyncIterator[WireServer]:
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    made.url = f"http{'s' if tls else ''}://127.0.0.1:{port}"
    yield made
    made.ending.set()
    server.close()
    await server.wait_closed()


@pytest.fixture
async def wire(monkeypatch: pytest.MonkeyPatch, credentials: None) -> AsyncIterator[WireServer]:
    async with _serving(WireServer(), None) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        yield made


@pytest.fixture
async def tls_wire(
    monkeypatch: pytest.MonkeyPatch, credentials: None, tmp_path: Path
) -> AsyncIterator[WireServer]:
    """ScriptedResponse over TLS, with a certificate of an authority that AWS_CA_BUNDLE names."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    bundle = tmp_path / "authorities.pem"
    authority.cert_pem.write_to_path(bundle)
    async with _serving(WireServer(), context) as made:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        yield made


@pytest.fixture(params=["direct", "aioboto3"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Open each transport in turn."""

    @asynccontextmanager
    async def connected(
        settings: AwsSettings | None = None, *, connections: int = 4, access: Access | None = None
    ) -> AsyncIterator[Transport]:
        chosen = (settings or AwsSettings()).model_copy(update={"transport": request.param})
        async with open_transport(chosen, connections=connections, access=access) as transport:
            assert transport.name == request.param
            yield transport

    return connected


@pytest.fixture
def closed_port() -> Callable[[], str]:
    """Return the URL of a port that nothing listens on."""

    def find() -> str:
        with socket.socket() as plug:
            plug.bind(("127.0.0.1", 0))
            return f"http://127.0.0.1:{plug.getsockname()[1]}"

    return find
