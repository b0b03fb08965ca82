"""One HTTP/1.1 connection: parses requests, answers in order, waits for a slow reader."""

import asyncio
import logging
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import httptools

from dispatcher.emulator.http.blob import Blob, BlobWriter
from dispatcher.emulator.http.message import (
    BodyDecoder,
    DecoderFor,
    Handler,
    HttpRequest,
    HttpResponse,
    Reply,
    Reset,
    Slice,
)

MAX_HEAD_BYTES = 64 * 1024
"""Maximum bytes of a request line with its headers, and of anything else that is not content."""

MAX_BODY_BYTES = 1_100_000_000
"""Maximum bytes of a body: an object of 1 GB with its framing."""

MAX_PIPELINED_REQUESTS = 16
"""Unanswered requests of one connection before it is read no further."""

_ONE_WRITE_BYTES = 64 * 1024

_NO_LINGER = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing drops unsent bytes, and the client gets a reset."""

_Buffer: TypeAlias = bytes | memoryview

_log = logging.getLogger(__name__)


class ConnectionOwner(Protocol):
    """The listener as its connections see it.

    Attributes:
        handler: Answers one request; must not raise.
        decoder_for: Chooses how a body is decoded while it arrives.
        date: Returns the Date header of a response.
        spool_folder: Where large request bodies are kept; None: in memory.
    """

    handler: Handler
    decoder_for: DecoderFor
    date: Callable[[], str]
    spool_folder: Path | None

    def opened(self, connection: "ServerConnection") -> None:
        """Take up a connection that has begun."""

    def closed(self, connection: "ServerConnection") -> None:
        """Forget a connection that has ended."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` until it ends or the owner closes."""


class ServerConnection(asyncio.Protocol):
    """Serves one client; created by the listener, ends with the socket.

    Requests are answered one after the other in the order they came. A handler that answers with a
    response is done at once; one that answers with an awaitable gets a task, which is cancelled
    when the client goes away.
    """

    def __init__(self, owner: ConnectionOwner) -> None:
        self._owner = owner
        self._folder: Path | None = owner.spool_folder
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[HttpRequest] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._reading = True
        self._closing = False
        self._begin()

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._in_body = False
        self._expecting = False
        self._spool: BlobWriter | None = None
        self._decoder: BodyDecoder | None = None
        self._fault = ""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport; called by the loop."""
        self._transport = cast("asyncio.Transport", transport)
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came; called by the loop."""
        if self._closing:
            return
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            self._give_up(self._status_of(error.__context__))
            return
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._give_up(400)
            return
        if self._head_bytes > MAX_HEAD_BYTES + len(data):
            self._give_up(431)

    @staticmethod
    def _status_of(cause: BaseException | None) -> int:
        if isinstance(cause, _TooLargeError):
            return 413
        # Most likely the disk is full; any other cause must be logged too.
        _log.error("the emulator cannot take a request", exc_info=cause)
        return 500

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the work for this client; called by the loop."""
        del exc
        self._closing = True
        self._owner.closed(self)
        self._writable.set()
        if self._spool is not None:
            self._spool.discard()
        for request in self._waiting:
            request.body.discard()
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """Hold back responses: the client does not read; called by the loop."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on answering; called by the loop."""
        self._writable.set()
        self._serve()

    def close(self) -> None:
        """End the connection without waiting for the client."""
        if self._transport is not None:
            self._transport.abort()

    # httptools callbacks

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header; behind the body it is a trailer, which is not needed."""
        if self._in_body:
            return
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1").strip(" \t")
        known = self._headers.get(key)
        self._headers[key] = text if known is None else f"{known},{text}"

    def on_headers_complete(self) -> None:
        """Prepare for the body."""
        self._in_body = True
        headers = self._headers
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > MAX_BODY_BYTES:
            raise _TooLargeError
        self._decoder = self._owner.decoder_for(headers)
        if headers.get("expect", "").lower() == "100-continue":
            self._expecting = True
            self._continue_if_first()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._expecting = False
        # From here on only framing and trailers count.
        self._head_bytes = 0
        if self._spool is None:
            self._spool = BlobWriter(self._folder)
        if self._decoder is None:
            self._spool.add(body)
        elif not self._fault:
            try:
                for piece in self._decoder.feed(body):
                    self._spool.add(piece)
            except ValueError as error:
                self._fault = str(error)
        if self._spool.size > MAX_BODY_BYTES:
            raise _TooLargeError

    def on_message_complete(self) -> None:
        """Queue the request and begin the next."""
        trailers: dict[str, str] = {}
        if self._decoder is not None and not self._fault:
            try:
                self._decoder.finish()
                trailers = self._decoder.trailers
            except ValueError as error:
                self._fault = str(error)
        request = HttpRequest(
            self._parser.get_method().decode("ascii"),
            self._url.decode("latin-1"),
            self._headers,
            Blob(0) if self._spool is None else self._spool.finish(),
            self._parser.should_keep_alive(),
            self._fault,
            trailers,
        )
        self._begin()
        self._waiting.append(request)
        self._serve()
        if len(self._waiting) >= MAX_PIPELINED_REQUESTS and self._reading and self._transport:
            self._reading = False
            self._transport.pause_reading()

    # Responses

    def _continue_if_first(self) -> None:
        # Behind an unanswered request this would be read as the response to that one.
        if self._expecting and self._task is None and not self._waiting and self._transport:
            self._expecting = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _serve(self) -> None:
        while (
            self._waiting and self._task is None and not self._closing and self._writable.is_set()
        ):
            request = self._waiting.popleft()
            response = self._owner.handler(request)
            if isinstance(response, HttpResponse):
                work = self._send(request, response)
            else:
                work = self._wait(request, response)
            if work is not None:
                self._task = self._owner.spawn(work)
                self._task.add_done_callback(self._answered)
        if not self._reading and len(self._waiting) < MAX_PIPELINED_REQUESTS and self._transport:
            self._reading = True
            self._transport.resume_reading()
        self._continue_if_first()

    def _reset(self) -> None:
        """Cut the connection as a crashed host would: the client gets a reset, not an end."""
        assert self._transport is not None
        self._closing = True
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()

    def _send(
        self, request: HttpRequest, response: HttpResponse
    ) -> Coroutine[Any, Any, None] | None:
        """Write a small response at once; return the work that streams a large one."""
        head = response.head(keep_alive=request.keep_alive, date=self._owner.date())
        body = response.body
        if request.method == "HEAD":
            body = b""
        elif isinstance(body, Slice):
            blocks = body.blob.blocks(body.start, body.stop)
            if response.size > _ONE_WRITE_BYTES:
                # The first block is read now: afterwards the object may be replaced or deleted.
                return self._stream(request, head, next(blocks), blocks)
            body = b"".join(blocks)
        elif response.size > _ONE_WRITE_BYTES:
            return self._stream(request, head, b"", Blob.of(body).blocks())
        assert self._transport is not None
        self._transport.write(head + body)
        self._finish(request)
        return None

    async def _wait(self, request: HttpRequest, pending: Awaitable[Reply]) -> None:
        try:
            reply = await pending
            if isinstance(reply, Reset):
                self._reset()
                return
            work = self._send(request, reply)
        finally:
            request.body.discard()
        if work is not None:
            await work

    async def _stream(
        self, request: HttpRequest, head: bytes, first: _Buffer, blocks: Iterator[memoryview]
    ) -> None:
        assert self._transport is not None
        self._transport.write(head)
        for block in chain((first,), blocks):
            self._transport.write(block)
            await self._writable.wait()
            if self._closing:
                return
        self._finish(request)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            # Half a response may be out: only closing shows the client that it is not whole.
            _log.error("the emulator failed to answer", exc_info=error)
            self.close()
            return
        self._serve()

    def _finish(self, request: HttpRequest) -> None:
        request.body.discard()
        if not request.keep_alive and self._transport is not None:
            self._closing = True
            self._transport.close()

    def _give_up(self, status: int) -> None:
        self._closing = True
        if self._transport is None:
            return
        if self._task is None:
            head = HttpResponse(status).head(keep_alive=False, date=self._owner.date())
            self._transport.write(head)
        self._transport.close()


class _TooLargeError(Exception):
    """The body is larger than anything the services accept."""
