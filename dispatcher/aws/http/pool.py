"""Keep-alive connections to one origin: bounded, shared, closed when idle."""

import asyncio

import anyio

from dispatcher.aws.http.connection import Connection, Timeouts
from dispatcher.aws.http.dialer import Dialer, Origin


class Pool:
    """Connections to an origin; at most ``most`` in use, waited for first come first served.

    The one that was used last is used next, so those that are not needed become idle. One is only
    opened when none is idle, so there are never more than ``most``.

    Args:
        origin: Where connections go.
        most: Most connections at once, those being opened included.
        connect_timeout: Seconds to open one.
        patience: How long to wait for what on one.
    """

    def __init__(
        self, origin: Origin, *, most: int, connect_timeout: float, patience: Timeouts
    ) -> None:
        self._dialer = Dialer(origin, connect_timeout)
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._permits = anyio.Semaphore(most, fast_acquire=True)
        self._idle: dict[Connection, None] = {}  # the last given back is the last
        self._open: set[Connection] = set()
        self._all_gone = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Pool: {len(self._open)} open, {len(self._idle)} idle>"

    def take_idle(self) -> Connection | None:
        """Return an idle connection, which the caller has to ``give`` back; None if there is none.

        Most calls find one, and need not wait for anything.
        """
        if self._idle and self._permits.value:
            self._permits.acquire_nowait()
            if (connection := self._pop_idle()) is not None:
                return connection
            self._permits.release()
        return None

    async def take(self) -> Connection:
        """Return a connection, which the caller has to ``give`` back.

        Raises:
            DialError: No connection could be had; nothing was sent.
        """
        await self._permits.acquire()
        try:
            return self._pop_idle() or await self._dialer.dial(self._make)
        except BaseException:
            self._permits.release()
            raise

    def give(self, connection: Connection) -> None:
        """Take a connection back; one whose exchange is not over is closed."""
        if connection.is_free:
            self._idle[connection] = None
        else:
            connection.abort()
        self._permits.release()

    async def aclose(self) -> None:
        """End all connections, and wait until they are gone."""
        while self._open:
            self._all_gone.clear()
            for connection in self._open:
                connection.abort()
            await self._all_gone.wait()

    def _make(self) -> Connection:
        return Connection(self._loop, self._patience, on_made=self._open.add, on_lost=self._forget)

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._idle.pop(connection, None)
        if not self._open:
            self._all_gone.set()

    def _pop_idle(self) -> Connection | None:
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.is_usable:
                return connection
            connection.abort()
        return None
