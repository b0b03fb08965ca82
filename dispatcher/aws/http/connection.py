"""One keep-alive connection: sends a request, hands its answer over, knows what was sent.

An asyncio protocol, because a stream costs a task switch for every read. One exchange at a time;
whoever cancels an exchange takes the connection with it, so that no answer ever meets another
request.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import cast

from dispatcher.aws.http.response import MalformedResponseError, ResponseReader

PIECE_BYTES = 262_144
"""How much of a large body is handed to the transport at once; below, all of it."""

_ONE_WRITE_BYTES = 16_384
"""Up to here head and body are joined: a copy costs less than a second buffer in the write."""

EARLY_BYTES = 65_536
"""Longest body that is read along with its head; a longer one waits until it is asked for."""


class ExchangeError(Exception):
    """There is no answer.

    Attributes:
        is_sent: The whole request may have arrived. Where it is False nothing can have happened.
    """

    def __init__(self, message: str, *, is_sent: bool) -> None:
        super().__init__(message)
        self.is_sent = is_sent


@dataclass(slots=True, frozen=True)
class Timeouts:
    """How long to wait, in seconds.

    Attributes:
        silence: For the next byte of an answer, or for the server to take more of the request.
        total: For a whole exchange.
        idle: For the next request, before the connection is closed.
        age: Until a connection is not used again, so that new addresses get their share.
    """

    silence: float
    total: float
    idle: float
    age: float


class Connection(asyncio.Protocol):
    """Made by the pool, which is told when it ends.

    Args:
        loop: The running loop.
        patience: How long to wait for what.
        on_made: Called once, when the connection is there.
        on_lost: Called once, when it is gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        patience: Timeouts,
        *,
        on_made: Callable[["Connection"], None],
        on_lost: Callable[["Connection"], None],
    ) -> None:
        self._loop = loop
        self._patience = patience
        self._shortest = min(patience.silence, patience.total)
        self._on_made = on_made
        self._on_lost = on_lost
        self._reader = ResponseReader()
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[None] | None = None  # for the answer, or for its head
        self._drained: asyncio.Future[None] | None = None
        self._failure: str | None = None
        self._wants_body = True
        self._is_free = True  # no exchange has begun that is not over
        self._is_sent = False
        self._is_paused = False
        self._is_over = False
        self._began = self._heard = self._made = loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = math.inf

    @property
    def is_free(self) -> bool:
        """Whether no exchange is under way and another one may follow."""
        return self._is_free and not self._is_over

    @property
    def is_usable(self) -> bool:
        """Whether it may carry another request now."""
        if not self._is_free or self._is_over:
            return False
        now, patience = self._loop.time(), self._patience
        return now - self._heard < patience.idle and now - self._made < patience.age

    def exchange(
        self, head: bytes, body: bytes, *, is_head: bool, most: int, wants_body: bool = True
    ) -> Coroutine[None, None, ResponseReader]:
        """Send a request; what is returned waits for its answer, and has to be awaited.

        No coroutine of its own, so that a call does not pay for one more.

        Args:
            head: Request line and headers with the empty line.
            body: The body.
            is_head: Its method is HEAD.
            most: Most bytes of the answer's body.
            wants_body: Where it is False, only the head of the answer is sure to be read, and a
                short body; a longer one waits for ``finish``. ``most`` then only bounds a body
                whose length the head does not tell.

        Raises:
            ExchangeError: There is no answer.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ExchangeError("the connection was closed", is_sent=False)
        self._is_free = self._is_sent = False
        self._wants_body = wants_body
        self._reader.begin(is_head=is_head, most=most, takes_any_length=not wants_body)
        self._began = self._heard = now = self._loop.time()
        if self._looks_at > now + self._shortest:
            self._watch(now + self._shortest)
        self._waiting = self._loop.create_future()
        if len(body) > PIECE_BYTES:
            return self._send_in_pieces(transport, self._waiting, head, memoryview(body))
        if len(body) <= _ONE_WRITE_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        self._is_sent = True
        return self._answered()

    async def finish(self) -> ResponseReader:
        """Return the answer of ``exchange`` when it is whole; harmless when it is.

        Raises:
            ExchangeError: It broke off.
        """
        reader = self._reader
        if reader.is_complete:
            return reader
        self._wants_body = True
        self._heard = now = self._loop.time()
        if self._looks_at > now + self._shortest:
            self._watch(now + self._shortest)
        self._waiting = self._loop.create_future()
        if self._is_over or self._transport is None:
            self._fail("the connection was closed while its answer waited to be read")
        else:
            self._transport.resume_reading()
        return await self._answered()

    def abort(self) -> None:
        """End the connection at once."""
        self._is_over = True
        if self._transport is not None:
            self._transport.abort()

    def give_up(self) -> None:
        """End a connection that was being opened, whether or not the loop will say that it is lost.

        It may have begun, or not, or be over.
        """
        self.abort()
        self.connection_lost(None)

    async def _send_in_pieces(
        self,
        transport: asyncio.Transport,
        answer: asyncio.Future[None],
        head: bytes,
        body: memoryview,
    ) -> ResponseReader:
        """Send as fast as the server takes it, until all is sent or the answer is there."""
        transport.write(head)
        for start in range(0, len(body), PIECE_BYTES):
            transport.write(body[start : start + PIECE_BYTES])
            while self._is_paused and not answer.done():
                self._drained = self._loop.create_future()
                try:
                    await self._drained
                except asyncio.CancelledError:
                    self.abort()
                    raise
            if answer.done():
                break
            self._heard = self._loop.time()
        else:
            self._is_sent = True
        return await self._answered()

    async def _answered(self) -> ResponseReader:
        assert self._waiting is not None
        try:
            await self._waiting
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self._waiting = None
        if self._failure is not None:
            raise ExchangeError(self._failure, is_sent=self._is_sent)
        reader = self._reader
        if reader.is_complete:
            self._is_free = True
            if not reader.is_reusable or not self._is_sent or self._is_paused:
                self.abort()
        return reader

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; called by the loop."""
        if self._is_over:  # given up
            cast("asyncio.Transport", transport).abort()
            return
        self._transport = cast("asyncio.Transport", transport)
        self._heard = self._loop.time()
        self._watch(self._heard + self._patience.idle)
        self._on_made(self)

    def data_received(self, data: bytes) -> None:
        """Read what came; called by the loop."""
        if self._is_free:
            self.abort()  # nobody asked for this
            return
        self._heard = self._loop.time()
        reader = self._reader
        try:
            reader.feed(data)
        except MalformedResponseError as error:
            if not reader.is_complete:
                self._fail(str(error))
                return
            reader.is_reusable = False  # a whole answer, and then something else
        if reader.is_complete:
            self._arrived()
        elif not self._wants_body and reader.has_head and (reader.length or 0) > EARLY_BYTES:
            assert self._transport is not None
            self._transport.pause_reading()
            self._arrived()

    def eof_received(self) -> bool:
        """Note that the server will say no more; called by the loop."""
        if not self._is_free and self._reader.end():
            self._arrived()
        else:
            self._fail("the server closed the connection")
        return False  # the transport closes itself

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits; called by the loop."""
        if self._transport is None:  # given up
            return
        self._transport = None
        self._fail(str(exc) if exc else "the server closed the connection")
        if self._timer is not None:
            self._timer.cancel()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """Hold the body back: the server is slow; called by the loop."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Go on sending; called by the loop."""
        self._is_paused = False
        self._go_on()

    def _arrived(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
            self._go_on()

    def _fail(self, why: str) -> None:
        if self._is_paused:
            self._is_sent = False  # the transport still holds the end of the request
        self.abort()
        if self._waiting is not None and not self._waiting.done():
            # Not as the future's exception: after a cancellation nobody would fetch it.
            self._failure = why
            self._arrived()

    def _go_on(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # Time

    def _watch(self, when: float) -> None:
        """Look at the clock at a time, and not later."""
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = when
        self._timer = self._loop.call_at(when, self._look_at_the_clock)

    def _look_at_the_clock(self) -> None:
        """End what has lasted too long.

        One timer a connection, set again only when it has fired: one for each call would cost more
        than the call's signature.
        """
        self._timer = None
        now, patience = self._loop.time(), self._patience
        if self._is_free:
            due = self._heard + patience.idle
        elif self._waiting is None:  # the head is read, and nobody has asked for the body yet
            due = self._began + patience.total
        else:
            due = min(self._heard + patience.silence, self._began + patience.total)
        if now >= due and now - self._began >= patience.total:
            self._fail(f"the answer was not whole after {now - self._began:.3g} seconds")
        elif now >= due:
            self._fail(f"nothing came for {now - self._heard:.3g} seconds")
        else:
            self._watch(min(due, now + patience.idle))
