"""Dialer: opens connections to a host, spread over its addresses."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

from dispatcher.aws.http.connection import Connection

_ADDRESS_TTL_SECONDS = 30.0
"""How long addresses are used; DNS gives the names of AWS a minute at most."""

_MAX_TRIES = 3
"""Most addresses tried for one connection."""

_MAX_OPENING = 64
"""Most connections being opened at once: handshakes take CPU, and more would time out."""

_LOOKUP_RETRY_SECONDS = 1.0
"""How soon a name is looked up again after no connection could be opened."""


class DialError(Exception):
    """No connection could be opened; nothing was sent."""


@dataclass(slots=True, frozen=True)
class Origin:
    """Destination of connections.

    Attributes:
        host: Name or IP address, without brackets.
        port: TCP port.
        tls: TLS context, or None for plain HTTP.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None

    def __str__(self) -> str:
        return f"http{'s' if self.tls else ''}://{self.host}:{self.port}"


class Dialer:
    """Opener of connections, each to the next address of the name.

    Args:
        origin: Their destination.
        timeout: Seconds for one connection, its name and its handshake included.
    """

    def __init__(self, origin: Origin, timeout: float) -> None:
        self._origin = origin
        self._timeout = timeout
        self._addresses: list[str] = []
        self._resolved_until = 0.0
        self._next_index = 0
        self._failed_until: dict[str, float] = {}  # until when to avoid an address
        self._resolve_lock = asyncio.Lock()
        self._opening_slots = asyncio.Semaphore(_MAX_OPENING)

    async def dial(self, protocol: Callable[[], Connection]) -> Connection:
        """Return a new connection.

        Raises:
            DialError: No connection could be opened.
        """
        loop = asyncio.get_running_loop()
        async with self._opening_slots:
            deadline = loop.time() + self._timeout
            cause: Exception = TimeoutError()
            try:
                async with asyncio.timeout_at(deadline):
                    addresses = await self._resolve(loop)
                tries = min(_MAX_TRIES, len(addresses))
                for left in range(tries, 0, -1):
                    address = self._next(addresses, loop.time())
                    # A silent address must leave time for the others.
                    until = loop.time() + (deadline - loop.time()) / left
                    try:
                        async with asyncio.timeout_at(until):
                            return await self._open(loop, protocol, address)
                    except (OSError, ssl.SSLError) as error:
                        self._failed_until[address] = loop.time() + _ADDRESS_TTL_SECONDS
                        cause = error
            except (OSError, UnicodeError) as error:
                cause = error
        # The name may have moved.
        self._resolved_until = min(self._resolved_until, loop.time() + _LOOKUP_RETRY_SECONDS)
        reason = str(cause) or f"no connection within {self._timeout:.3g} seconds"
        raise DialError(f"{self._origin.host}:{self._origin.port}: {reason}") from cause

    def _next(self, addresses: Sequence[str], now: float) -> str:
        """Return the next address; one that failed lately only where all did."""
        for _ in addresses:
            address = addresses[self._next_index % len(addresses)]
            self._next_index += 1
            if self._failed_until.get(address, 0.0) <= now:
                return address
        return min(addresses, key=self._failed_until.__getitem__)  # or all would be tried at one

    async def _resolve(self, loop: asyncio.AbstractEventLoop) -> list[str]:
        """Return the addresses of the name; one lookup serves all that wait."""
        if loop.time() < self._resolved_until:
            return self._addresses
        async with self._resolve_lock:
            if loop.time() >= self._resolved_until:
                infos = await loop.getaddrinfo(
                    self._origin.host, self._origin.port, type=socket.SOCK_STREAM
                )
                addresses = _interleave(infos)
                if not addresses:
                    raise OSError("the name has no address")
                self._failed_until = {a: t for a, t in self._failed_until.items() if a in addresses}
                self._addresses = addresses
                self._resolved_until = loop.time() + _ADDRESS_TTL_SECONDS
            return self._addresses

    async def _open(
        self, loop: asyncio.AbstractEventLoop, protocol: Callable[[], Connection], address: str
    ) -> Connection:
        origin, connection = self._origin, protocol()
        try:
            transport, _ = await loop.create_connection(
                lambda: connection,
                address,
                origin.port,
                ssl=origin.tls,
                server_hostname=origin.host if origin.tls else None,
            )
        except BaseException:
            # uvloop says nothing to the protocol of a connection that it gives up.
            connection.give_up()
            raise
        # Without it a long poll of a peer that is gone waits until its timeout.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection


def _interleave(infos: Iterable[tuple[Any, ...]]) -> list[str]:
    """Return the addresses, IPv4 and IPv6 alternating: one family may be unreachable."""
    families: dict[int, dict[str, None]] = {}
    for family, _, _, _, address in infos:
        families.setdefault(family, {})[str(address[0])] = None
    rounds = zip_longest(*families.values())
    return [address for address in chain.from_iterable(rounds) if address is not None]
