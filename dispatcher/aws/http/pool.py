"""Pool of keep-alive connections to one origin: bounded, shared, closed when idle."""

import asyncio
from dataclasses import dataclass

import anyio

from dispatcher.aws.http.connection import Connection, ConnectionPhase, Timeouts
from dispatcher.aws.http.dialer import Dialer, Origin

_IDLE = ConnectionPhase.IDLE  # as in ``connection``: each call looks at it


@dataclass(slots=True, frozen=True, kw_only=True)
class PoolStatistics:
    """Counts of a pool at one moment.

    Attributes:
        max_connections: Most connections that may be in use at once.
        open: Connections that are open, in use or idle.
        idle: Connections that wait for a request.
        in_use: Connections that callers hold, or wait to see opened.
        waiting: Callers that wait for one of them.
        opened: Connections that were opened since the pool was made.
    """

    max_connections: int
    open: int
    idle: int
    in_use: int
    waiting: int
    opened: int


class Pool:
    """Connections to one origin; callers wait for them first come first served.

    The connection that was used last is used next, so those that are not needed become idle. A new
    one is only opened when none is idle, so there are never more than ``max_connections``.

    Args:
        origin: Where connections go.
        max_connections: Most connections at once, those being opened included.
        connect_timeout: Seconds to open one.
        timeouts: Time limits of each.
    """

    def __init__(
        self, origin: Origin, *, max_connections: int, connect_timeout: float, timeouts: Timeouts
    ) -> None:
        self._origin = origin
        self._max_connections = max_connections
        self._dialer = Dialer(origin, connect_timeout)
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._permits = anyio.Semaphore(max_connections, fast_acquire=True)
        self._idle: dict[Connection, None] = {}  # the last released is the last
        self._open: set[Connection] = set()
        self._opened = 0
        self._all_closed = asyncio.Event()

    def __repr__(self) -> str:
        counts = self.statistics()
        return (
            f"<Pool of {self._origin}: {counts.open} open, {counts.idle} idle, "
            f"{counts.in_use} of {counts.max_connections} in use, {counts.waiting} waiting>"
        )

    def statistics(self) -> PoolStatistics:
        """Return the counts of this moment."""
        return PoolStatistics(
            max_connections=self._max_connections,
            open=len(self._open),
            idle=len(self._idle),
            in_use=self._max_connections - self._permits.value,
            waiting=self._permits.statistics().tasks_waiting,
            opened=self._opened,
        )

    def acquire_idle(self) -> Connection | None:
        """Return an idle connection, which the caller has to ``release``; None if there is none.

        Most calls find one, and need not wait for anything.
        """
        if self._idle and self._permits.value:
            self._permits.acquire_nowait()
            if (connection := self._pop_idle()) is not None:
                return connection
            self._permits.release()
        return None

    async def acquire(self) -> Connection:
        """Return a connection, which the caller has to ``release``.

        Raises:
            DialError: No connection could be opened; nothing was sent.
        """
        await self._permits.acquire()
        try:
            return self._pop_idle() or await self._dialer.dial(self._make)
        except BaseException:
            self._permits.release()
            raise

    def release(self, connection: Connection) -> None:
        """Take a connection back; one whose exchange is not over is closed."""
        if connection.phase is _IDLE:
            self._idle[connection] = None
        else:
            connection.abort()
        self._permits.release()

    async def aclose(self) -> None:
        """Close all connections, and wait until they are gone."""
        while self._open:
            self._all_closed.clear()
            for connection in self._open:
                connection.abort()
            await self._all_closed.wait()

    def _make(self) -> Connection:
        return Connection(self._loop, self._timeouts, on_made=self._on_made, on_lost=self._on_lost)

    def _on_made(self, connection: Connection) -> None:
        self._open.add(connection)
        self._opened += 1

    def _on_lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._idle.pop(connection, None)
        if not self._open:
            self._all_closed.set()

    def _pop_idle(self) -> Connection | None:
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.is_usable:
                return connection
            connection.abort()
        return None
