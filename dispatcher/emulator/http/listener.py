"""HTTP listener: the socket, its connections and their tasks."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from dispatcher.emulator.http.connection import ServerConnection
from dispatcher.emulator.http.message import DecoderFor, Handler
from dispatcher.errors import ConfigError


class HttpListener:
    """Accepts connections and owns their tasks.

    Attributes:
        handler: Answers one request; must not raise.
        decoder_for: Chooses how a body is decoded while it arrives.
        date: Returns the Date header of a response.
        spool_folder: Where large request bodies are kept; None: in memory.
        connections: Those open now.
        port: The port in use; known after ``open``.
    """

    def __init__(
        self,
        handler: Handler,
        decoder_for: DecoderFor,
        *,
        date: Callable[[], str],
        spool_folder: Path | None = None,
    ) -> None:
        self.handler = handler
        self.decoder_for = decoder_for
        self.date = date
        self.spool_folder = spool_folder
        self.connections: set[ServerConnection] = set()
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def open(self, host: str, port: int) -> None:
        """Listen on ``host`` and ``port`` (0: any free one).

        Raises:
            ConfigError: The address cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: ServerConnection(self), host, port, backlog=1024
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(
                f"The emulator cannot listen on {host} port {port} ({reason}). "
                "Stop what uses the port, or set emulator.port to another one; 0 takes any "
                "free port."
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]

    def opened(self, connection: ServerConnection) -> None:
        """Take up a connection that has begun."""
        self.connections.add(connection)

    def closed(self, connection: ServerConnection) -> None:
        """Forget a connection that has ended."""
        self.connections.discard(connection)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` until it ends or the listener closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Stop listening, cut all connections, and wait for their tasks."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A cut connection ends in the loop's next round; there is no event to wait for.
        while self.connections:  # noqa: ASYNC110
            await asyncio.sleep(0)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None


def url_of(host: str, port: int) -> str:
    """Return the URL of an address; one of IPv6 goes into brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
