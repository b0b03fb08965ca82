"""Keep-alive HTTP/1.1 connection: one exchange at a time, and a record of what was sent.

An asyncio protocol, because a stream costs a task switch for every read. Cancelling an exchange
closes its connection, so that no response can reach another request.

    OPENING -> IDLE -> SENDING -> WAITING -> IDLE
                                  WAITING -> DEFERRED -> WAITING
    any phase -> CLOSED
"""

import asyncio
import enum
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

_ANY_LENGTH = math.inf


class ExchangeError(Exception):
    """No response to a request.

    Attributes:
        is_sent: The whole request may have arrived. Where it is False nothing can have happened.
    """

    def __init__(self, message: str, *, is_sent: bool) -> None:
        super().__init__(message)
        self.is_sent = is_sent


@dataclass(slots=True, frozen=True, kw_only=True)
class Timeouts:
    """Time limits of a connection, in seconds.

    Attributes:
        silence: For the next byte of a response, or for the server to take more of the request.
        total: For a whole exchange.
        idle: For the next request, before the connection is closed.
        age: Until a connection is not used again, so that new addresses get their share.
    """

    silence: float
    total: float
    idle: float
    age: float


class ConnectionPhase(enum.Enum):
    """Phase of a connection; each exchange goes from IDLE back to IDLE, or to CLOSED."""

    OPENING = "opening"
    """The loop has not reported the connection yet."""
    IDLE = "idle"
    """No exchange is under way."""
    SENDING = "sending"
    """Part of the request is not handed to the transport yet."""
    WAITING = "waiting"
    """The request is handed over, and a caller awaits the response."""
    DEFERRED = "deferred"
    """The head of the response is read, and its long body waits for ``finish``."""
    CLOSED = "closed"
    """Nothing is sent or read any more; the loop may still have to report the loss."""


# Names of the module: 10 ns at each use, where a look into the enumeration takes 120 ns.
_OPENING = ConnectionPhase.OPENING
_IDLE = ConnectionPhase.IDLE
_SENDING = ConnectionPhase.SENDING
_WAITING = ConnectionPhase.WAITING
_DEFERRED = ConnectionPhase.DEFERRED
_CLOSED = ConnectionPhase.CLOSED


class Connection(asyncio.Protocol):
    """Connection of a pool, which gets a call when it opens and when it is lost.

    Args:
        loop: The running loop.
        timeouts: Its time limits.
        on_made: Called once, when the connection is there.
        on_lost: Called once, when it is gone.

    Attributes:
        phase: Its phase; read-only for others.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeouts: Timeouts,
        *,
        on_made: Callable[["Connection"], None],
        on_lost: Callable[["Connection"], None],
    ) -> None:
        self.phase = _OPENING
        self._loop = loop
        self._timeouts = timeouts
        self._shortest_timeout = min(timeouts.silence, timeouts.total)
        self._on_made = on_made
        self._on_lost = on_lost
        self._reader = ResponseReader()
        self._transport: asyncio.Transport | None = None
        self._response: asyncio.Future[None] | None = None  # done when it, or its head, is read
        self._drained: asyncio.Future[None] | None = None  # there while the transport is full
        self._failure: str | None = None
        self._was_sent = False  # how far the request of the last exchange was at the close
        self._max_early_bytes = _ANY_LENGTH  # of a body that is read before it is asked for
        self._exchanges = 0
        self._started_at = self._active_at = self._opened_at = loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = math.inf

    def __repr__(self) -> str:
        transport = self._transport
        peer = transport.get_extra_info("peername") if transport else None
        where = f" to {peer[0]}:{peer[1]}" if peer else ""
        return f"<Connection{where}: {self.phase.value}, {self._exchanges} exchanges>"

    @property
    def is_usable(self) -> bool:
        """Whether it may carry another request now."""
        if self.phase is not _IDLE:
            return False
        now, timeouts = self._loop.time(), self._timeouts
        return now - self._active_at < timeouts.idle and now - self._opened_at < timeouts.age

    @property
    def is_write_paused(self) -> bool:
        """Whether the transport holds back what the server does not take."""
        return self._drained is not None

    def exchange(
        self,
        head: bytes,
        body: bytes,
        *,
        is_head: bool,
        max_body_bytes: int,
        wants_body: bool = True,
    ) -> Coroutine[None, None, ResponseReader]:
        """Send a request; the caller has to await the result, which waits for the response.

        No coroutine of its own, so that a call does not pay for one more.

        Args:
            head: Request line and headers with the empty line.
            body: The body.
            is_head: Its method is HEAD.
            max_body_bytes: Longest body of a response.
            wants_body: Where it is False, only the head of the response is sure to be read, and a
                short body; a longer one waits for ``finish``. ``max_body_bytes`` then only bounds
                a body whose length the head does not give.

        Raises:
            ExchangeError: There is no response.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ExchangeError("the connection was closed", is_sent=False)
        self._exchanges += 1
        self._max_early_bytes = _ANY_LENGTH if wants_body else EARLY_BYTES
        self._reader.begin(
            is_head=is_head, max_body_bytes=max_body_bytes, accepts_any_length=not wants_body
        )
        self._started_at = self._active_at = now = self._loop.time()
        if self._timer_due > now + self._shortest_timeout:
            self._set_timer(now + self._shortest_timeout)
        self._response = self._loop.create_future()
        if len(body) > PIECE_BYTES:
            self.phase = _SENDING
            return self._send_in_pieces(transport, self._response, head, memoryview(body))
        self.phase = _WAITING
        if len(body) <= _ONE_WRITE_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        return self._wait_for_response()

    async def finish(self) -> ResponseReader:
        """Return the response of ``exchange`` when it is whole; harmless when it is.

        Raises:
            ExchangeError: It broke off.
        """
        reader = self._reader
        if reader.is_complete:
            return reader
        self._max_early_bytes = _ANY_LENGTH
        self._active_at = now = self._loop.time()
        if self._timer_due > now + self._shortest_timeout:
            self._set_timer(now + self._shortest_timeout)
        self._response = self._loop.create_future()
        if self.phase is _CLOSED or self._transport is None:
            self._fail("the connection was closed while its response waited to be read")
        else:
            if self.phase is _DEFERRED:
                self.phase = _WAITING
            self._transport.resume_reading()
        return await self._wait_for_response()

    def abort(self) -> None:
        """Close the connection at once."""
        if self.phase is not _CLOSED:
            # What the transport still holds is lost.
            self._was_sent = self.phase is not _SENDING and self._drained is None
            self.phase = _CLOSED
        if self._transport is not None:
            self._transport.abort()

    def give_up(self) -> None:
        """Close a connection that was being opened, whether or not the loop reports its loss.

        It may have begun, or not, or be over.
        """
        self.abort()
        self.connection_lost(None)

    async def _send_in_pieces(
        self,
        transport: asyncio.Transport,
        response: asyncio.Future[None],
        head: bytes,
        body: memoryview,
    ) -> ResponseReader:
        """Send as fast as the server takes it, until all is sent or the response is there."""
        transport.write(head)
        for start in range(0, len(body), PIECE_BYTES):
            transport.write(body[start : start + PIECE_BYTES])
            while self._drained is not None and not response.done():
                try:
                    await self._drained
                except asyncio.CancelledError:
                    self.abort()
                    raise
            if response.done():
                break
            self._active_at = self._loop.time()
        else:
            if self.phase is _SENDING:
                self.phase = _WAITING
        return await self._wait_for_response()

    async def _wait_for_response(self) -> ResponseReader:
        assert self._response is not None
        try:
            await self._response
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self._response = None
        if self._failure is not None:
            raise ExchangeError(self._failure, is_sent=self._was_sent)
        reader = self._reader
        if not reader.is_complete:
            if self.phase is _WAITING:
                self.phase = _DEFERRED
        elif self.phase is _WAITING and reader.is_reusable and self._drained is None:
            self.phase = _IDLE
        else:
            self.abort()
        return reader

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; called by the loop."""
        if self.phase is _CLOSED:  # given up
            cast("asyncio.Transport", transport).abort()
            return
        self.phase = _IDLE
        self._transport = cast("asyncio.Transport", transport)
        self._active_at = self._loop.time()
        self._set_timer(self._active_at + self._timeouts.idle)
        self._on_made(self)

    def data_received(self, data: bytes) -> None:
        """Read what came; called by the loop."""
        if self.phase is _IDLE or self.phase is _CLOSED:
            self.abort()  # no request asked for this
            return
        self._active_at = self._loop.time()
        reader = self._reader
        try:
            reader.feed(data)
        except MalformedResponseError as error:
            if not reader.is_complete:
                self._fail(str(error))
                return
            reader.is_reusable = False  # a whole response, and then something else
        if reader.is_complete:
            self._wake_caller()
        elif reader.has_head and (reader.length or 0) > self._max_early_bytes:
            assert self._transport is not None
            self._transport.pause_reading()
            self._wake_caller()

    def eof_received(self) -> bool:
        """Note that the server sends no more; called by the loop."""
        is_under_way = self.phase is not _IDLE and self.phase is not _CLOSED
        if is_under_way and self._reader.end():
            self._wake_caller()
        else:
            self._fail("the server closed the connection")
        return False  # the transport closes itself

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the exchange under way and report the loss; called by the loop."""
        if self._transport is None:  # given up
            return
        self._transport = None
        self._fail(str(exc) if exc else "the server closed the connection")
        if self._timer is not None:
            self._timer.cancel()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """Hold the body back, because the server is slow; called by the loop."""
        if self._drained is None:
            self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """Go on sending; called by the loop."""
        self._wake_sender()
        self._drained = None

    def _wake_caller(self) -> None:
        if self._response is not None and not self._response.done():
            self._response.set_result(None)
            self._wake_sender()

    def _wake_sender(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _fail(self, reason: str) -> None:
        self.abort()
        if self._response is not None and not self._response.done():
            # Not as the future's exception: after a cancellation nothing would fetch it.
            self._failure = reason
            self._wake_caller()

    # Time

    def _set_timer(self, due: float) -> None:
        """Check the timeouts at a time, and not later."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_at(due, self._check_timeouts)

    def _check_timeouts(self) -> None:
        """Close a connection that has taken too long.

        One timer a connection, set again only when it has fired: one for each call would cost more
        than the call's signature.
        """
        self._timer = None
        now, timeouts = self._loop.time(), self._timeouts
        if self.phase is _IDLE:
            due = self._active_at + timeouts.idle
        elif self.phase is _DEFERRED:
            due = self._started_at + timeouts.total
        else:
            due = min(self._active_at + timeouts.silence, self._started_at + timeouts.total)
        if now >= due and now - self._started_at >= timeouts.total:
            self._fail(f"the response was not whole after {now - self._started_at:.3g} seconds")
        elif now >= due:
            self._fail(f"nothing came for {now - self._active_at:.3g} seconds")
        else:
            self._set_timer(min(due, now + timeouts.idle))
