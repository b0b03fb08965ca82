"""Scripted server on a real socket, and our client against it."""

import asyncio
import socket
import ssl
import struct
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import trustme
import uvloop

from dispatcher.aws.direct.address import Address
from dispatcher.aws.direct.bucket import DirectBucket
from dispatcher.aws.direct.caller import Caller
from dispatcher.aws.direct.clock_skew import ClockSkew
from dispatcher.aws.direct.credentials import SigningCredentials
from dispatcher.aws.direct.error_response import read_json, read_xml
from dispatcher.aws.direct.runtime import DirectRuntime
from dispatcher.aws.direct.sqs import DirectSqs
from dispatcher.aws.http.connection import Timeouts
from dispatcher.aws.http.dialer import Origin
from dispatcher.aws.http.pool import Pool
from dispatcher.aws.objects import Objects
from dispatcher.aws.queue import Queue
from dispatcher.aws.requests import InvokeRequest
from dispatcher.aws.sdk.bucket import SdkBucket

HOST = "127.0.0.1"
TIMEOUTS = Timeouts(silence=60.0, total=600.0, idle=12.0, age=300.0)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
SECRET, TOKEN = "wJalrXUtnFEMI", "IQoJb3JpZ2luX2Vj"
MARK = b"a-secret-of-the-user"
WHOLE_SECONDS = 20
"""For what must happen; only a test that fails takes so long."""


class ForwardLoop(asyncio.SelectorEventLoop):
    """A loop whose clock can be set forward: what is due by then happens, on real sockets."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": ForwardLoop,
    "uvloop": uvloop.new_event_loop,
}


def forward(seconds: float) -> None:
    """Let time pass at once, on the loop of asyncio."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ForwardLoop)
    loop.ahead += seconds


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until something holds."""
    async with asyncio.timeout(WHOLE_SECONDS):
        while not condition():  # noqa: ASYNC110 - no event shows what happens inside
            await asyncio.sleep(0)


async def until_quiet() -> None:
    """Let the loop turn until what was closed is closed."""
    for _ in range(20):
        await asyncio.sleep(0)


@dataclass
class Asked:
    """A request as it came; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Line:
    """One connection, seen from the server.

    Attributes:
        number: How many came before it.
        asked: The whole requests that came.
        sent: Bytes that the kernel has taken, or may have.
    """

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self.asked: list[Asked] = []
        self.sent = 0
        self.ended = asyncio.Event()

    async def head(self) -> tuple[str, str, dict[str, str]]:
        """Read the head of a request."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        pairs = (line.split(":", 1) for line in head[1:] if line)
        return method, target, {name.lower(): value.strip() for name, value in pairs}

    async def request(self) -> Asked:
        """Read a whole request."""
        method, target, headers = await self.head()
        body = await self.reader.readexactly(int(headers["content-length"]))
        asked = Asked(method, target, headers, body)
        self.asked.append(asked)
        return asked

    async def say(self, *pieces: bytes) -> None:
        """Send pieces, each when the former has left."""
        for piece in pieces:
            self.writer.write(piece)
            self.sent += len(piece)
            await self.writer.drain()

    async def say_again_and_again(self, piece: bytes, max_bytes: int = 100_000_000) -> None:
        """Send a piece again and again, as fast as it is taken."""
        while self.sent < max_bytes:
            await self.say(piece)

    def reset(self) -> None:
        """Tear the connection down."""
        plug: socket.socket = self.writer.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def stay(self) -> None:
        """Neither read nor say anything, until the server is cut off."""
        await asyncio.Event().wait()

    async def over(self) -> None:
        """Wait until the script has ended; called by the test."""
        async with asyncio.timeout(WHOLE_SECONDS):
            await self.ended.wait()

    async def gone(self) -> None:
        """Read until the client is gone."""
        while await self.reader.read(65_536):
            pass


Script = Callable[[Line], Awaitable[object]]


async def answers_ok(line: Line) -> None:
    """Respond to every request."""
    while True:
        await line.request()
        await line.say(OK)


@dataclass
class Peer:
    """The server; ``script`` is what it does on each connection, which then is closed."""

    script: Script
    port: int = 0
    tls: ssl.SSLContext | None = None
    lines: list[Line] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    wrong: list[BaseException] = field(default_factory=list)

    @property
    def asked(self) -> list[Asked]:
        return [asked for line in self.lines for asked in line.asked]

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(len(self.lines), reader, writer)
        self.lines.append(line)
        task = asyncio.get_running_loop().create_task(self._serve(line))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _serve(self, line: Line) -> None:
        try:
            await self.script(line)
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client has gone
        except Exception as error:
            if not line.writer.is_closing():  # uvloop says RuntimeError where the client has gone
                self.wrong.append(error)
        finally:
            line.writer.close()
            line.ended.set()

    async def over(self) -> None:
        """Wait until all connections are over."""
        for line in self.lines:
            await line.over()
        async with asyncio.timeout(WHOLE_SECONDS):
            for line in self.lines:
                try:
                    await line.writer.wait_closed()
                except (OSError, asyncio.CancelledError):
                    continue  # as it ended: streams hand it out to everybody


@asynccontextmanager
async def peer(
    script: Script = answers_ok,
    *,
    tls: ssl.SSLContext | None = None,
    receive_buffer: int = 0,
    host: str = HOST,
    port: int = 0,
) -> AsyncIterator[Peer]:
    """Serve for the length of the block; connections that are left are cut at its end."""
    made = Peer(script, tls=tls)
    plug = socket.socket()
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if receive_buffer:
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    plug.bind((host, port))
    server = await asyncio.start_server(made.serve, sock=plug, ssl=tls, limit=16_384)
    made.port = plug.getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for line in made.lines:
            line.writer.transport.abort()
        for task in list(made.tasks):
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)
        await made.over()
        await server.wait_closed()
    assert not made.wrong, made.wrong


def closed_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as plug:
        plug.bind((HOST, 0))
        port: int = plug.getsockname()[1]
        return port


@dataclass(frozen=True)
class Trust:
    """Both ends of TLS under an authority of our own."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    bundle: bytes


def make_trust(*names: str) -> Trust:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or (HOST,))).configure_cert(server)
    client = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    return Trust(server, client, authority.cert_pem.bytes())


class FixedCredentials:
    """Credentials that never expire."""

    async def get_frozen_credentials(self) -> SimpleNamespace:
        return SimpleNamespace(access_key="AKIDEXAMPLE", secret_key=SECRET, token=TOKEN)


@dataclass
class Client:
    """The three services over one pool."""

    pool: Pool
    runtime: DirectRuntime
    objects: Objects
    queue: Queue


def make_pool(
    port: int,
    *,
    max_connections: int = 4,
    timeouts: Timeouts = TIMEOUTS,
    connect_timeout: float = 5.0,
    tls: ssl.SSLContext | None = None,
    host: str = HOST,
) -> Pool:
    origin = Origin(host, port, tls)
    return Pool(
        origin, max_connections=max_connections, connect_timeout=connect_timeout, timeouts=timeouts
    )


def make_client(pool: Pool, port: int, *, is_encrypted: bool = False) -> Client:
    credentials, clock = SigningCredentials(FixedCredentials()), ClockSkew()
    scheme = "https" if is_encrypted else "http"

    def caller(service: str, path: str = "") -> Caller:
        return Caller(
            Address(
                scheme=scheme,
                host=HOST,
                port=port,
                authority=f"{HOST}:{port}",
                path=path,
                region="eu-west-1",
                service=service,
            ),
            base=path,
            pool=pool,
            credentials=credentials,
            clock=clock,
            read_error=read_xml if service == "s3" else read_json,
        )

    async def stay() -> None:
        return None

    async def bucket(name: str) -> DirectBucket:
        sdk = SdkBucket(None, name, 1.0)  # nothing here is written in parts
        return DirectBucket(name=name, caller=caller("s3", f"/{name}"), find_caller=stay, sdk=sdk)

    return Client(
        pool,
        DirectRuntime(caller("sagemaker")),
        Objects(bucket),
        Queue(f"http://{HOST}:{port}/1/q", DirectSqs(caller("sqs"))),
    )


@asynccontextmanager
async def client_of(
    port: int,
    *,
    max_connections: int = 4,
    timeouts: Timeouts = TIMEOUTS,
    connect_timeout: float = 5.0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Client]:
    """Call a port for the length of the block; at its end nothing may be left."""
    pool = make_pool(
        port,
        max_connections=max_connections,
        timeouts=timeouts,
        connect_timeout=connect_timeout,
        tls=tls,
    )
    try:
        yield make_client(pool, port, is_encrypted=tls is not None)
        assert permits(pool) == max_connections
    finally:
        await pool.aclose()
    assert open_and_idle(pool) == (0, 0)


def open_and_idle(pool: Pool) -> tuple[int, int]:
    """Return how many connections are open, and how many of them are idle."""
    counts = pool.statistics()
    return counts.open, counts.idle


def permits(pool: Pool) -> int:
    """Return how many connections may be taken without waiting."""
    counts = pool.statistics()
    return counts.max_connections - counts.in_use


def invocation(number: int = 0, body: bytes = MARK) -> InvokeRequest:
    return InvokeRequest(
        endpoint="churn",
        inference_id=f"run-{number:08}",
        content_type="application/json",
        output_extension="run/0",
        filename=f"run-{number:08}.out",
        body=body,
        input_location=None,
        accept=None,
        custom_attributes=None,
        ttl=3600,
        timeout=60,
    )


def assert_shows_no_secret(error: BaseException) -> None:
    """No error of the chain holds or shows a payload, a key, a token or a signature."""
    shown = "".join(traceback.format_exception(error))
    link: BaseException | None = error
    while link is not None:
        shown += f"{link} {link!r} {link.args!r} {vars(link)!r}"
        link = link.__cause__ or link.__context__
    lowered = shown.lower()
    for secret in (SECRET, TOKEN, MARK.decode(), "signature=", "authorization:"):
        assert secret.lower() not in lowered
